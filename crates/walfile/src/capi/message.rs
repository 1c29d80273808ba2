//! Texts for C.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// Keeps what the call has to say, for this thread.
pub(super) fn set(text: &str) {
    let text = CString::new(text).unwrap_or_default();
    // A thread that is ending has nobody left to ask.
    let _ = MESSAGE.try_with(|message| message.replace(text));
}

/// The text with a zero byte after it, cut off when it is too long.
pub(super) fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut array = [0; N];
    let room = array.iter_mut().take(N.saturating_sub(1));
    room.zip(text.bytes()).for_each(|(to, from)| *to = from);
    array
}

/// What the latest call of this thread that has something to say said.
#[unsafe(no_mangle)]
pub extern "C" fn walfile_message() -> *const c_char {
    MESSAGE.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}
