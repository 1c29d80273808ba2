//! However the bytes arrive, the frames are the same.

use proptest::collection::vec;
use proptest::prelude::*;
use tapster_protocol::proto::{BackendMessage, FrameBuffer, FrameLimits};

fn frames_of(bytes: &[u8], pieces: &[usize], limits: FrameLimits) -> (Vec<(u8, Vec<u8>)>, Option<String>) {
    let mut buffer = FrameBuffer::new(limits);
    let mut found = Vec::new();
    let mut rest = bytes;
    let mut sizes = pieces.iter().copied().cycle();
    loop {
        loop {
            match buffer.next() {
                Ok(Some(frame)) => found.push((frame.tag, buffer.body(&frame).to_vec())),
                Ok(None) => break,
                Err(error) => return (found, Some(error.to_string())),
            }
        }
        if rest.is_empty() {
            return (found, None);
        }
        let spare = buffer.spare();
        assert!(!spare.is_empty(), "there is always room for another byte");
        let count = sizes.next().unwrap_or(1).clamp(1, spare.len().min(rest.len()));
        spare[..count].copy_from_slice(&rest[..count]);
        buffer.filled(count);
        rest = &rest[count..];
    }
}

fn small() -> FrameLimits {
    let mut limits = FrameLimits::default();
    limits.initial = 16;
    limits.max_frame = 4096;
    limits
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..300)), 0..40),
        pieces in vec(1usize..200, 1..20),
        initial in 8usize..600,
    ) {
        let mut stream = Vec::new();
        for (tag, body) in &frames {
            stream.push(*tag);
            stream.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            stream.extend_from_slice(body);
        }
        let mut limits = small();
        limits.initial = initial;
        let (found, error) = frames_of(&stream, &pieces, limits);
        prop_assert_eq!(error, None);
        prop_assert_eq!(found, frames);
    }

    #[test]
    fn garbage_is_the_same_garbage(bytes in vec(any::<u8>(), 0..2000), pieces in vec(1usize..100, 1..10)) {
        prop_assert_eq!(frames_of(&bytes, &pieces, small()), frames_of(&bytes, &[usize::MAX], small()));
    }

    #[test]
    fn messages_never_panic(tag in any::<u8>(), body in vec(any::<u8>(), 0..200)) {
        let _ = BackendMessage::parse(tag, &body);
    }
}
