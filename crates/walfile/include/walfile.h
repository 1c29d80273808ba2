/* walfile: records of PostgreSQL WAL (10 to 18), for programs in other languages.
 *
 * Build the library:  cargo rustc -p walfile --release --features capi --crate-type cdylib
 * It gives target/release/libwalfile.so; link it with -lwalfile.
 *
 * Bytes go in, records come out; nothing here opens a file. No function keeps a pointer to bytes it was given. A reader is
 * used by one thread at a time; different readers are independent. `examples/records.c` is a whole program.
 */
#ifndef WALFILE_H
#define WALFILE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WALFILE_OK = 0,
    /* walfile_next: no record for now. More bytes may bring one, unless the log ends here: walfile_end. */
    WALFILE_NONE = 1,
    /* A null pointer where none may be. */
    WALFILE_ARGUMENT = -1,
    /* The bytes do not begin with the first page of a WAL segment. */
    WALFILE_NOT_WAL = -2,
    /* walfile_verify: the segment is not valid up to its end. */
    WALFILE_DAMAGED = -3,
    /* A bug in the library. The reader, when there is one, is to be closed and not used otherwise. */
    WALFILE_BUG = -4
};

/* What reads a log; opaque. */
typedef struct walfile_reader walfile_reader;

/* One record, whose checksum and link back are right. */
typedef struct walfile_record {
    /* Where it begins, and where the log goes on after it. */
    uint64_t lsn;
    uint64_t end;
    /* Where the record before begins. */
    uint64_t prev;
    /* Where a record began that a crash cut off and this one replaces; 0 otherwise. */
    uint64_t replaces;
    /* All of it, header included, page headers left out; total_len bytes, valid until the reader's next call. */
    const uint8_t *bytes;
    uint32_t total_len;
    uint32_t xid;
    uint32_t timeline;
    uint32_t crc;
    /* The major release that wrote it, such as 16. */
    uint16_t major;
    uint8_t rmgr;
    uint8_t info;
    /* As pg_waldump shows them, ended by a zero byte; empty when unknown. */
    char rmgr_name[32];
    char type_name[32];
} walfile_record;

/* What a walk over a segment found. */
typedef struct walfile_summary {
    /* Whole records, and their bytes. */
    uint64_t records;
    uint64_t record_bytes;
    /* Where the first and the last of them begin; 0 without one. */
    uint64_t first;
    uint64_t last;
    /* Everything before this position is valid. */
    uint64_t valid_up_to;
} walfile_summary;

/* Starts to read at the beginning of a segment; `length` bytes of it, at least its first page header of 40 bytes. */
int walfile_open(const uint8_t *bytes, size_t length, walfile_reader **reader);

/* Adds the bytes that follow, of the same segment or of the next. */
int walfile_feed(walfile_reader *reader, const uint8_t *bytes, size_t length);

/* The next record: WALFILE_OK, or WALFILE_NONE. */
int walfile_next(walfile_reader *reader, walfile_record *record);

/* Ends the reading: up to where the log was valid. Why it ends there is walfile_message(). */
int walfile_end(walfile_reader *reader, uint64_t *valid_up_to);

/* Gives the reader back; a null pointer is left alone. */
void walfile_close(walfile_reader *reader);

/* Checks a segment in memory, without copying it. `summary` is filled for WALFILE_OK and WALFILE_DAMAGED. */
int walfile_verify(const uint8_t *bytes, size_t length, walfile_summary *summary);

/* What the latest call of this thread that has something to say said; valid until the thread's next call. Never null. */
const char *walfile_message(void);

#ifdef __cplusplus
}
#endif

#endif
