//! What a store calls the content of an object. S3's name for one that was written in parts is the MD5 of the MD5s of its parts, and
//! how many these are.

use http::HeaderMap;
use md5::{Digest as _, Md5};

/// The name as a header has it: in Azure's listings it stands without quotes.
pub(super) fn quoted(etag: String) -> String {
    let is_quoted = etag.starts_with('"') || etag.starts_with("W/");
    if is_quoted { etag } else { format!("\"{etag}\"") }
}

/// Whether both names are of the same content, wherever each comes from: listings and answers have them with quotes or without.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    quoted(one.to_owned()) == quoted(other.to_owned())
}

/// What the store called a part that it took.
pub(super) fn of_part(headers: &HeaderMap) -> Option<[u8; 16]> {
    sum(headers.get(http::header::ETAG)?.to_str().ok()?.trim_matches('"'))
}

/// Whether an object of the name `etag` is of these parts; `None` when the store's names do not say that, as those of objects
/// encrypted with a key of one's own.
pub(super) fn is_of(parts: &[Option<[u8; 16]>], etag: &str) -> Option<bool> {
    let (found, count) = etag.trim_matches('"').split_once('-')?;
    let (found, count) = (sum(found)?, count.parse::<usize>().ok()?);
    let mut whole = Md5::new();
    for part in parts {
        whole.update((*part)?);
    }
    Some(count == parts.len() && whole.finalize()[..] == found)
}

fn sum(hex: &str) -> Option<[u8; 16]> {
    if hex.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_and_an_answer_call_a_content_alike() {
        for (listed, answered) in
            [("0x8D4BCC2E4835CD0", "\"0x8D4BCC2E4835CD0\""), ("\"a\"", "\"a\""), ("W/\"a\"", "W/\"a\"")]
        {
            assert_eq!(quoted(listed.to_owned()), answered);
            assert_eq!(quoted(answered.to_owned()), answered);
            for (one, other) in [(listed, answered), (answered, listed), (listed, listed)] {
                assert!(is_same(one, other), "{one} {other}");
            }
            assert!(!is_same(listed, "\"other\"") && !is_same("other", answered));
        }
    }

    #[test]
    fn a_name_tells_whether_an_object_is_of_these_parts() {
        let part = |etag: &str| {
            let headers: HeaderMap = [(http::header::ETAG, etag.parse().unwrap())].into_iter().collect();
            of_part(&headers)
        };
        // Of one byte `a` and one `b`.
        let parts =
            [part("\"0cc175b9c0f1b6a831c399e269772661\""), part("\"92eb5ffee6ae2fec3ad71c777531578f\"")];
        let whole = "\"96e024ba2074fe77e8e965ba43a704be-2\"";
        assert_eq!(is_of(&parts, whole), Some(true));
        assert_eq!(is_of(&parts[..1], whole), Some(false));
        assert_eq!(is_of(&[parts[1], parts[0]], whole), Some(false));
        assert_eq!(is_of(&parts, &whole.replace("-2", "-3")), Some(false));
        for other in ["\"p-2\"", "\"\"", "0x8D4BCC2E4835CD0", "\"0cc175b9c0f1b6a831c399e269772661\""] {
            assert_eq!(is_of(&parts, other), None, "{other}");
        }
        assert_eq!(is_of(&[parts[0], part("\"p\"")], whole), None);
    }
}
