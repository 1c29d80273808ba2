//! The length of a record's page images alone, for whoever counts bytes: much cheaper than taking records apart.

use crate::record::Fields;

/// Bytes of all the page images in a record whose body (what follows the header) this is: what
/// [`Parts::image_bytes`](crate::record::Parts) says. `None` when the body ends too early; little else is checked.
pub fn image_bytes(body: &[u8], major: u16) -> Option<u32> {
    const MAX_BLOCK: u8 = 32;
    let mut fields = Fields::new(body);
    let (mut payload, mut images) = (0_usize, 0_u32);
    // What was announced is what is left when the headers end.
    while fields.len() > payload {
        let [id, flags, l0, l1] = *match fields.array() {
            Some(bytes) => bytes,
            // One of the short marks after the blocks.
            None => break,
        };
        if id > MAX_BLOCK {
            break;
        }
        payload += usize::from(u16::from_le_bytes([l0, l1]));
        if flags & 0x10 != 0 {
            let [i0, i1, _, _, info] = *fields.array()?;
            let length = u16::from_le_bytes([i0, i1]);
            payload += usize::from(length);
            images += u32::from(length);
            let packed = info & if major >= 15 { 0x1C } else { 0x02 } != 0;
            if packed && info & 0x01 != 0 {
                fields.skip(2)?;
            }
        }
        fields.skip(if flags & 0x80 == 0 { 16 } else { 4 })?;
    }
    Some(images)
}
