//! A page of a listing, as the store writes it.

use bytes::Bytes;

/// What is listed, and the element that names it: of S3 and Google, and of Azure. Only in directories a slash may come last.
const ITEMS: [(&str, &str, bool); 4] = [
    ("Contents", "Key", false),
    ("CommonPrefixes", "Prefix", true),
    ("Blob", "Name", false),
    ("BlobPrefix", "Name", true),
];

/// The providers take any document for a listing, and one without objects for an empty bucket.
pub(super) fn is_whole(body: &[u8]) -> bool {
    let end = body.get(body.len().saturating_sub(64)..).unwrap_or_default();
    let end = String::from_utf8_lossy(end);
    let end = end.trim_end();
    end.ends_with("</ListBucketResult>") || end.ends_with("</EnumerationResults>")
}

/// The page without the keys that nothing here writes: those with an empty part, for one of which the provider's client would refuse
/// the whole page, and the empty objects that stand for directories in consoles and file managers, whose slash it would cut off.
pub(super) fn without_foreign(body: Bytes) -> Bytes {
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    let mut left: Option<String> = None;
    for (item, name, is_directory) in ITEMS {
        let shorter = without(left.as_deref().unwrap_or(text), item, |inside| {
            let (_, key) = inside.split_once(&format!("<{name}>"))?;
            let (key, _) = key.split_once(&format!("</{name}>"))?;
            let is_broken = key.starts_with('/') || key.contains("//");
            if is_broken {
                tracing::warn!(key = super::one_line(key), "an object that is not ours is passed over");
            }
            Some(is_broken || (!is_directory && key.ends_with('/')))
        });
        left = shorter.or(left);
    }
    left.map_or(body, Bytes::from)
}

/// The text without the elements `item` that are foreign by what is inside them; `None` when all of them stay.
fn without(text: &str, item: &str, is_foreign: impl Fn(&str) -> Option<bool>) -> Option<String> {
    let (open, close) = (format!("<{item}>"), format!("</{item}>"));
    let mut left: Option<String> = None;
    let mut seen = text.split(&open).next()?.len();
    for part in text.split(&open).skip(1) {
        let (inside, after) = part.split_once(&close).unwrap_or((part, ""));
        if is_foreign(inside).unwrap_or(false) {
            left.get_or_insert_with(|| text.get(..seen).unwrap_or_default().to_owned()).push_str(after);
        } else if let Some(left) = &mut left {
            left.push_str(&open);
            left.push_str(part);
        }
        seen += open.len() + part.len();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_foreign_keys_are_left_out() {
        let page = |items: &str| {
            Bytes::from(format!("<ListBucketResult><Prefix>p/</Prefix>{items}</ListBucketResult>"))
        };
        let ours = "<Contents><Key>p/a</Key></Contents>";
        let dir = "<CommonPrefixes><Prefix>p/b/</Prefix></CommonPrefixes>";
        for foreign in [
            "<Contents><Key>p/</Key><Size>0</Size></Contents>",
            "<Contents><Key>p/b/</Key></Contents><Contents><Key>p//</Key></Contents>",
            "<Contents><Key>p/b//c</Key></Contents>",
            "<Contents><Key>/p/b</Key></Contents>",
            "<CommonPrefixes><Prefix>p//</Prefix></CommonPrefixes>",
        ] {
            for (before, after) in [("", ours), (ours, dir), (dir, ours), ("", "")] {
                let found = without_foreign(page(&format!("{before}{foreign}{after}")));
                assert_eq!(found, page(&format!("{before}{after}")), "{foreign}");
            }
        }
        let azure = "<EnumerationResults><Blobs><Blob><Name>a//b</Name></Blob><Blob><Name>a/c</Name></Blob>\
                     <BlobPrefix><Name>a//</Name></BlobPrefix></Blobs></EnumerationResults>";
        let left = "<EnumerationResults><Blobs><Blob><Name>a/c</Name></Blob></Blobs></EnumerationResults>";
        assert_eq!(without_foreign(azure.into()), left);
        for whole in [page(&format!("{ours}{dir}")), Bytes::from_static(b"<Contents><Key>p//"), Bytes::new()]
        {
            assert_eq!(without_foreign(whole.clone()), whole);
        }
    }
}
