//! The serialised forms.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use walfile::codec::Compression;
use walfile::{Lsn, SegmentName, SystemId, WalName};

fn from_text<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Error> {
    let deserializer: StrDeserializer<'de, Error> = text.into_deserializer();
    T::deserialize(deserializer)
}

#[test]
fn texts_are_those_of_display() {
    assert_eq!(from_text::<Lsn>("16/B374D848").unwrap().to_string(), "16/B374D848");
    assert_eq!(from_text::<SystemId>("7710462296459250184").unwrap().get(), 7_710_462_296_459_250_184);
    assert_eq!(from_text::<Compression>("zstd").unwrap(), Compression::Zstd);
    let name = "000000010000000000000005";
    assert_eq!(from_text::<SegmentName>(name).unwrap().to_string(), name);
    assert!(matches!(from_text::<WalName>("00000002.history").unwrap(), WalName::History(_)));
    assert!(from_text::<Lsn>("0").is_err() && from_text::<SystemId>("x").is_err());
}
