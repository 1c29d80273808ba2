//! HTML in which everything that is not written down in this program is escaped: there is no other way in.

use std::fmt::{Display, Write as _};

/// Text from outside is cut here; no name or message that means something is longer.
const LONGEST: usize = 1_000;

/// An attribute with its value.
pub(super) type Attribute<'a> = (&'static str, &'a dyn Display);

/// HTML under construction.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// As it is.
    pub(super) fn raw(&mut self, html: &'static str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    /// Escaped.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = write!(Escape { out: &mut self.0, left: LONGEST }, "{text}");
        self
    }

    /// `<tag attribute="value">`
    pub(super) fn open(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) -> &mut Self {
        self.raw("<").raw(tag);
        for (name, value) in attributes {
            self.raw(" ").raw(name).raw("=\"").text(value).raw("\"");
        }
        self.raw(">")
    }

    /// `</tag>`
    pub(super) fn close(&mut self, tag: &'static str) -> &mut Self {
        self.raw("</").raw(tag).raw(">")
    }

    /// An element with text in it.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        attributes: &[Attribute<'_>],
        text: impl Display,
    ) -> &mut Self {
        self.open(tag, attributes).text(text).close(tag)
    }

    /// An element of SVG without text, with a title that a pointer shows unless it is empty.
    pub(super) fn shape(
        &mut self,
        tag: &'static str,
        attributes: &[Attribute<'_>],
        title: &str,
    ) -> &mut Self {
        self.open(tag, attributes);
        if !title.is_empty() {
            self.element("title", &[], title);
        }
        self.close(tag)
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escape<'a> {
    out: &'a mut String,
    left: usize,
}

impl std::fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            match self.left.checked_sub(1) {
                Some(left) => self.left = left,
                None => return Ok(()),
            }
            match character {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                '\n' | '\t' => self.out.push(' '),
                // They could make a reader see another text than there is.
                '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}' => {
                    self.out.push('\u{FFFD}');
                }
                other if other.is_control() => self.out.push('\u{FFFD}'),
                other => self.out.push(other),
            }
            if self.left == 0 {
                self.out.push('…');
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let mut page = Markup::default();
        let hostile = "\"><script>alert('1')</script>&amp;\u{0}\u{202E}\r\n";
        page.open("p", &[("title", &hostile)]).text(hostile).close("p");
        let escaped =
            "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;\u{FFFD}\u{FFFD}\u{FFFD} ";
        assert_eq!(page.finish(), format!("<p title=\"{escaped}\">{escaped}</p>"));
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut page = Markup::default();
        page.text("<".repeat(5_000));
        assert_eq!(page.finish(), format!("{}…", "&lt;".repeat(LONGEST)));
    }
}
