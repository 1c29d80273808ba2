//! An answer that is not what was asked for.

use http::header::{DATE, LOCATION};
use http::{HeaderMap, StatusCode};

/// No reason is longer, in characters.
const LONGEST: usize = 300;

/// An error, as the store put it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status; that of the kind of error when the answer called itself a success.
    pub(crate) status: u16,
    /// The store's name for it: `NoSuchKey`.
    pub(crate) code: Option<String>,
    /// The store's words for it, in one line.
    pub(crate) message: String,
    /// The key it is about, of many.
    pub(crate) key: Option<String>,
    /// Where the bucket is, when that is what is wrong.
    pub(crate) region: Option<String>,
    /// The host that a redirect leads to.
    pub(crate) elsewhere: Option<String>,
    /// The store's clock, as it writes it.
    pub(crate) date: Option<String>,
    /// Whether a header says that an object store made this answer, and nothing on the way to it.
    pub(crate) is_signed: bool,
    /// Whether there was no text at all, as in every answer to `HEAD`.
    pub(crate) is_bare: bool,
}

impl Answer {
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, body: &str) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(one_line);
        let is_document = body.contains("<Error>") || body.contains("<Error ");
        let code = if is_document { element(body, "Code") } else { None };
        let region = if is_document { element(body, "Region") } else { None };
        let message = if is_document { element(body, "Message") } else { json_message(body) };
        let elsewhere = headers.get(LOCATION).and_then(|value| value.to_str().ok()).and_then(host_of);
        Self {
            status: status.as_u16(),
            code: code.or_else(|| header("x-ms-error-code")),
            message: message.unwrap_or_else(|| without_markup(body)),
            key: None,
            region: header("x-amz-bucket-region").or(region),
            elsewhere: elsewhere.or_else(|| if is_document { element(body, "Endpoint") } else { None }),
            date: header(DATE.as_str()),
            is_signed: ["x-amz-request-id", "x-amz-id-2", "x-ms-request-id", "x-guploader-uploadid"]
                .iter()
                .any(|name| headers.contains_key(*name)),
            is_bare: body.trim().is_empty(),
        }
    }

    /// The error in an answer that began as a success: a document that is one, or holds one about a key. A key that is not there is
    /// as good as removed.
    pub(super) fn within(headers: &HeaderMap, body: &str) -> Option<Self> {
        let mut rest = body;
        while let Some((_, found)) = rest.split_once("<Error>") {
            let (error, after) = found.split_once("</Error>").unwrap_or((found, ""));
            rest = after;
            let code = element(error, "Code");
            if code.as_deref() == Some("NoSuchKey") {
                continue;
            }
            let status = match code.as_deref() {
                Some("AccessDenied" | "AllAccessDisabled" | "ObjectLocked") => StatusCode::FORBIDDEN,
                Some("NoSuchUpload" | "NoSuchBucket") => StatusCode::NOT_FOUND,
                Some("PreconditionFailed") => StatusCode::PRECONDITION_FAILED,
                Some("ConditionalRequestConflict") => StatusCode::CONFLICT,
                Some(code) if code.starts_with("Invalid") || code.starts_with("Entity") => {
                    StatusCode::BAD_REQUEST
                }
                // The store's own trouble: it may be gone the next time.
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let document = format!("<Error>{error}</Error>");
            return Some(Self { key: element(error, "Key"), ..Self::of(status, headers, &document) });
        }
        None
    }

    /// The first refusal among the answers to the requests of a batch, as Azure sends them in the body of a success. An object that is
    /// not there is as good as removed.
    pub(super) fn within_batch(headers: &HeaderMap, body: &str) -> Option<Self> {
        body.split("HTTP/1.1 ").skip(1).find_map(|part| {
            let status = StatusCode::from_bytes(part.as_bytes().get(..3)?).ok()?;
            if status.is_success() || status == StatusCode::NOT_FOUND {
                return None;
            }
            let (head, rest) = part.split_once("\r\n\r\n").unwrap_or((part, ""));
            let header = |line: &str| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("x-ms-error-code").then(|| one_line(value))
            };
            let code = head.lines().find_map(header);
            let document = rest.split("\r\n--").next().unwrap_or_default();
            let answer = Self::of(status, headers, document);
            Some(Self { code: answer.code.clone().or(code), ..answer })
        })
    }

    /// Whether what was sent did not come as it was sent. The next time it may.
    pub(crate) fn is_of_the_way(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some(
                "BadDigest"
                    | "InvalidDigest"
                    | "XAmzContentSHA256Mismatch"
                    | "XAmzContentChecksumMismatch"
                    | "Md5Mismatch"
                    | "IncompleteBody"
                    | "RequestTimeout"
            )
        )
    }

    /// What went wrong, in one line.
    pub(crate) fn text(&self) -> String {
        let mut text = match &self.code {
            Some(code) => code.clone(),
            None => format!("HTTP status {}", self.status),
        };
        if let Some(key) = &self.key {
            text.push_str(&format!(" for {key}"));
        }
        if !self.message.is_empty() {
            text.push_str(&format!(": {}", self.message));
        }
        text
    }
}

/// The text of the first element of that name.
pub(crate) fn element(document: &str, name: &str) -> Option<String> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    let text = one_line(&text.replace("&apos;", "'").replace("&amp;", "&"));
    (!text.is_empty()).then_some(text)
}

/// Google's errors are not all XML.
fn json_message(body: &str) -> Option<String> {
    let body = body.trim_start();
    let (_, rest) = body.starts_with('{').then_some(body)?.split_once("\"message\"")?;
    let (_, rest) = rest.split_once('"')?;
    let (text, _) = rest.split_once('"')?;
    Some(one_line(text))
}

/// What a reader would see of a page.
fn without_markup(text: &str) -> String {
    let mut inside = false;
    let text = text.chars().take(4 * LONGEST).filter_map(|c| match c {
        '<' => {
            inside = true;
            Some(' ')
        }
        '>' if inside => {
            inside = false;
            None
        }
        _ if inside => None,
        c => Some(c),
    });
    one_line(&text.collect::<String>())
}

fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    Some(one_line(host.rsplit_once('@').map_or(host, |(_, host)| host)))
}

/// One line of bounded length, without what comes after the question mark of a URL: signatures and tokens are there.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let word = match word.split_once('?') {
            Some((before, _))
                if word.contains("://") || word.contains("sig=") || word.contains("Signature=") =>
            {
                before
            }
            _ => word,
        };
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_and_others_shown_as_a_reader_would_see_them() {
        let none = HeaderMap::new();
        let body = "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>It &lt;is&gt;\n not\u{1b} there</Message></Error>";
        let answer = Answer::of(StatusCode::NOT_FOUND, &none, body);
        assert_eq!(answer.text(), "NoSuchKey: It <is> not there");
        let answer = Answer::of(StatusCode::BAD_GATEWAY, &none, "<html><h1>Bad\ngateway</h1><p>nginx</html>");
        assert_eq!(answer.text(), "HTTP status 502: Bad gateway nginx");
        let answer = Answer::of(
            StatusCode::BAD_REQUEST,
            &none,
            r#"{"error": {"code": 400, "message": "No project"}}"#,
        );
        assert_eq!(answer.text(), "HTTP status 400: No project");
        for hostile in
            ["<Error><Code>", "<Error><Code></Code><Message>", "{\"message\"", "<<<<>>>", "\u{0}\u{ffff}"]
        {
            let answer = Answer::of(StatusCode::FORBIDDEN, &none, &hostile.repeat(5_000));
            assert!(answer.text().chars().count() <= 2 * LONGEST + 20 && !answer.text().contains('\n'));
        }
    }

    #[test]
    fn an_error_is_seen_in_a_success() {
        let none = HeaderMap::new();
        assert_eq!(
            Answer::within(&none, "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>"),
            None
        );
        let mixed = "<DeleteResult><Error><Key>a</Key><Code>NoSuchKey</Code></Error><Deleted><Key>c</Key></Deleted>\
                     <Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
        let answer = Answer::within(&none, mixed).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (403, "AccessDenied for b: no"));
        let answer = Answer::within(&none, "<Error><Code>InternalError</Code></Error>").unwrap();
        assert_eq!(answer.status, 500);
    }

    #[test]
    fn a_refusal_is_seen_in_a_batch() {
        let none = HeaderMap::new();
        let part = |status: &str, more: &str| {
            format!("--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status}\r\n{more}\r\n")
        };
        let gone = "x-ms-error-code: BlobNotFound\r\n\r\n<Error><Code>BlobNotFound</Code></Error>";
        let fine = part("202 Accepted", "x-ms-request-id: 1\r\n\r\n") + &part("404 Not Found", gone);
        assert_eq!(Answer::within_batch(&none, &fine), None);
        let bare = part("503 Server Busy", "X-Ms-Error-Code: ServerBusy\r\n\r\n");
        let busy = Answer::within_batch(&none, &(fine.clone() + &bare)).unwrap();
        assert_eq!((busy.status, busy.text().as_str()), (503, "ServerBusy"));
        let more = "\r\n<Error><Code>AuthorizationPermissionMismatch</Code><Message>no</Message></Error>";
        let denied = Answer::within_batch(&none, &(part("403 Forbidden", more) + &fine)).unwrap();
        assert_eq!((denied.status, denied.text().as_str()), (403, "AuthorizationPermissionMismatch: no"));
        for hostile in ["HTTP/1.1 ", "HTTP/1.1 9", "HTTP/1.1 \u{ffff}\u{ffff}", "HTTP/1.1 40"] {
            assert_eq!(Answer::within_batch(&none, hostile), None, "{hostile}");
        }
    }

    #[test]
    fn queries_of_urls_are_not_shown() {
        let text = one_line("GET https://a.blob.core.windows.net/c/k?sv=1&sig=s3cr3t failed?");
        assert_eq!(text, "GET https://a.blob.core.windows.net/c/k failed?");
    }
}
