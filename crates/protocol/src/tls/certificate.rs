//! The parts of an X.509 certificate that libpq looks at and webpki does not hand out.

use super::der::{BIT_STRING, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET};

/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// id-ce-subjectAltName, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const SAN_DNS: u8 = 0x82;
const SAN_IP: u8 = 0x87;

/// A certificate, borrowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Certificate<'a> {
    /// 1 or 3.
    pub(super) version: u8,
    /// The signed part, with its header.
    pub(super) to_be_signed: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    not_before: (u8, &'a [u8]),
    not_after: (u8, &'a [u8]),
    /// The key's `AlgorithmIdentifier` without its header.
    pub(super) key_algorithm: &'a [u8],
    /// The bits of the public key.
    pub(super) key: &'a [u8],
    /// The key with its algorithm and header.
    pub(super) key_info: &'a [u8],
    /// The signature's `AlgorithmIdentifier` without its header.
    pub(super) signature_algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    extensions: Option<&'a [u8]>,
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::new(der);
        let mut certificate = outer.enter(SEQUENCE)?;
        if !outer.is_empty() {
            return None;
        }
        let to_be_signed = certificate.expect(SEQUENCE)?;
        let signature_algorithm = certificate.expect(SEQUENCE)?.content;
        let signature = bits(certificate.expect(BIT_STRING)?.content)?;

        let mut fields = Reader::new(to_be_signed.content);
        let version = match fields.enter(0xa0) {
            Some(mut explicit) => match explicit.expect(INTEGER)?.content {
                [1] => 2,
                [2] => 3,
                _ => return None,
            },
            None => 1,
        };
        fields.expect(INTEGER)?;
        fields.expect(SEQUENCE)?;
        let issuer = fields.expect(SEQUENCE)?.whole;
        let mut validity = fields.enter(SEQUENCE)?;
        let (not_before, not_after) = (validity.any()?, validity.any()?);
        let subject = fields.expect(SEQUENCE)?.whole;
        let key_info = fields.expect(SEQUENCE)?;
        let mut key_fields = Reader::new(key_info.content);
        let key_algorithm = key_fields.expect(SEQUENCE)?.content;
        let key = bits(key_fields.expect(BIT_STRING)?.content)?;
        let mut extensions = None;
        while let Some(field) = fields.any() {
            if field.tag == 0xa3 {
                extensions = Some(Reader::new(field.content).expect(SEQUENCE)?.content);
            }
        }
        Some(Self {
            version,
            to_be_signed: to_be_signed.whole,
            issuer,
            subject,
            not_before: (not_before.tag, not_before.content),
            not_after: (not_after.tag, not_after.content),
            key_algorithm,
            key,
            key_info: key_info.whole,
            signature_algorithm,
            signature,
            extensions,
        })
    }

    /// The first common name of the subject, the one libpq compares.
    pub(super) fn common_name(&self) -> Option<&'a str> {
        let mut name = Reader::new(self.subject).enter(SEQUENCE)?;
        let mut found = None;
        while let Some(mut relative) = name.enter(SET) {
            while let Some(mut pair) = relative.enter(SEQUENCE) {
                let kind = pair.expect(OID)?;
                let value = pair.any()?;
                if kind.content == COMMON_NAME && found.is_none() {
                    // A zero byte in the name is how CVE-2009-4034 works; no host name has one.
                    found = std::str::from_utf8(value.content).ok().filter(|name| !name.contains('\0'));
                }
            }
        }
        found
    }

    /// Whether the certificate has alternative names of the kind of this host; then the common name does not count.
    pub(super) fn has_alternative_names(&self, address: bool) -> bool {
        let Some(mut extensions) = self.extensions.map(Reader::new) else { return false };
        while let Some(mut extension) = extensions.enter(SEQUENCE) {
            if extension.expect(OID).is_none_or(|oid| oid.content != SUBJECT_ALT_NAME) {
                continue;
            }
            // Skips the optional boolean "critical".
            while let Some(value) = extension.any() {
                let names =
                    (value.tag == OCTET_STRING).then(|| Reader::new(value.content).enter(SEQUENCE)).flatten();
                let Some(mut names) = names else { continue };
                while let Some(name) = names.any() {
                    if name.tag == if address { SAN_IP } else { SAN_DNS } {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Whether the time (seconds of the Unix epoch) is within the certificate's validity.
    pub(super) fn is_valid_at(&self, now: u64) -> bool {
        match (seconds(self.not_before), seconds(self.not_after)) {
            (Some(from), Some(to)) => (from..=to).contains(&now),
            _ => false,
        }
    }
}

/// The content of a bit string of whole bytes.
fn bits(content: &[u8]) -> Option<&[u8]> {
    content.split_first().filter(|(unused, _)| **unused == 0).map(|(_, bytes)| bytes)
}

/// `UTCTime` or `GeneralizedTime` in the one form RFC 5280 allows: to the second, in UTC.
fn seconds((tag, text): (u8, &[u8])) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| part.iter().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (0x17, 12) => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year);
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (0x18, 14) => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year), rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut next = || parts.next();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
        || year < 1970
    {
        return None;
    }
    // Days from civil, after H. Hinnant: years begin in March so that the leap day is the last.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100
        + shifted_year / 400
        + (153 * shifted_month + 2) / 5
        + day
        - 1;
    Some((days.checked_sub(719_468)?) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times() {
        assert_eq!(seconds((0x17, b"700101000000Z")), Some(0));
        assert_eq!(seconds((0x17, b"260229120000Z")), seconds((0x17, b"260301120000Z")));
        assert_eq!(seconds((0x18, b"20240229235959Z")), Some(1_709_251_199));
        assert_eq!(seconds((0x17, b"491231235959Z")), Some(2_524_607_999));
        assert_eq!(seconds((0x18, b"99991231235959Z")), Some(253_402_300_799));
        for bad in [&b"700101000000"[..], b"7001010000Z", b"70010100000+Z", b"701301000000Z", b"Z"] {
            assert_eq!(seconds((0x17, bad)), None, "{bad:?}");
        }
    }
}
