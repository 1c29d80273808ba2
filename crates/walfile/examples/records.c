/* Lists the records of a WAL segment, then verifies it.  cc records.c -I include -L target/release -lwalfile */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "walfile.h"

static uint8_t *read_file(const char *name, size_t *length)
{
    FILE *file = fopen(name, "rb");
    uint8_t *bytes = NULL;
    long size;

    if (file == NULL)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0) {
        bytes = malloc((size_t) size);
        *length = bytes == NULL ? 0 : fread(bytes, 1, (size_t) size, file);
    }
    fclose(file);
    return bytes;
}

int main(int argc, char **argv)
{
    walfile_reader *reader;
    walfile_record record;
    walfile_summary summary;
    uint64_t end;
    size_t length = 0, half;
    uint8_t *bytes = argc == 2 ? read_file(argv[1], &length) : NULL;
    int result;

    if (bytes == NULL) {
        fprintf(stderr, "usage: records SEGMENT\n");
        return 2;
    }
    /* In two pieces, to show that pieces may be of any size. */
    half = length / 2;
    if (walfile_open(bytes, half, &reader) != WALFILE_OK) {
        printf("not WAL: %s\n", walfile_message());
        free(bytes);
        return 1;
    }
    while (walfile_next(reader, &record) == WALFILE_OK)
        printf("%" PRIu64 " %" PRIu64 " %s %s %" PRIu32 " %u\n", record.lsn, record.end, record.rmgr_name,
               record.type_name, record.total_len, record.bytes[record.total_len - 1]);
    walfile_feed(reader, bytes + half, length - half);
    while (walfile_next(reader, &record) == WALFILE_OK)
        printf("%" PRIu64 " %" PRIu64 " %s %s %" PRIu32 " %u\n", record.lsn, record.end, record.rmgr_name,
               record.type_name, record.total_len, record.bytes[record.total_len - 1]);
    walfile_end(reader, &end);
    printf("end %" PRIu64 ": %s\n", end, walfile_message());
    walfile_close(reader);

    result = walfile_verify(bytes, length, &summary);
    printf("verify %d: %" PRIu64 " records, %" PRIu64 " bytes, %" PRIu64 " to %" PRIu64 ", valid up to %" PRIu64 "\n",
           result, summary.records, summary.record_bytes, summary.first, summary.last, summary.valid_up_to);
    free(bytes);
    return 0;
}
