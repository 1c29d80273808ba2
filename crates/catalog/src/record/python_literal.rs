//! The Python literals inside a `backup.info`: what `ast.literal_eval` reads and `repr()` writes, as far as Barman uses them.

use thiserror::Error;

/// A Python value.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are Python's")]
pub enum PyValue {
    None,
    Bool(bool),
    Int(i64),
    /// Always finite.
    Float(f64),
    Str(String),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    /// In the order of the text.
    Dict(Vec<(Self, Self)>),
}

/// A text that is not a literal we read.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("bad literal at byte {at}: {problem}")]
#[non_exhaustive]
pub struct LiteralError {
    /// Bytes from the start of the text.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

/// Deeper than anything Barman writes (which is 4), and harmless on any stack.
const MAX_DEPTH: usize = 32;
/// The size of the text; the copy statistics of 10,000 tablespaces fit.
const MAX_LEN: usize = 4 << 20;

impl PyValue {
    /// Reads a literal. Nothing is evaluated; depth and length are bounded.
    ///
    /// # Errors
    /// With the place, when the text is something else.
    pub fn parse(text: &str) -> Result<Self, LiteralError> {
        if text.len() > MAX_LEN {
            return Err(LiteralError { at: MAX_LEN, problem: "longer than 4 MiB" });
        }
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0)?;
        parser.blanks();
        if parser.peek().is_some() {
            return Err(parser.fail("expected the end"));
        }
        Ok(value)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// A number, whether written as an integer or not.
    #[expect(clippy::cast_precision_loss, reason = "as Python's float(): durations and counts")]
    pub const fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    const fn fail(&self, problem: &'static str) -> LiteralError {
        LiteralError { at: self.at, problem }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '\x0c']).len();
    }

    fn value(&mut self, depth: usize) -> Result<PyValue, LiteralError> {
        if depth > MAX_DEPTH {
            return Err(self.fail("nested too deeply"));
        }
        self.blanks();
        match self.peek() {
            Some('\'' | '"') => self.string().map(PyValue::Str),
            Some('u' | 'U') => {
                self.at += 1;
                self.string().map(PyValue::Str)
            }
            Some('[') => self.items(']', depth).map(|(items, _)| PyValue::List(items)),
            Some('(') => {
                let (mut items, comma) = self.items(')', depth)?;
                // Without a comma these are mere brackets around a value.
                if items.len() == 1
                    && !comma
                    && let Some(only) = items.pop()
                {
                    return Ok(only);
                }
                Ok(PyValue::Tuple(items))
            }
            Some('{') => self.dict(depth),
            Some(c) if c.is_ascii_digit() || matches!(c, '+' | '-' | '.') => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.word(),
            _ => Err(self.fail("expected a value")),
        }
    }

    fn word(&mut self) -> Result<PyValue, LiteralError> {
        for (word, value) in
            [("None", PyValue::None), ("True", PyValue::Bool(true)), ("False", PyValue::Bool(false))]
        {
            if let Some(after) = self.rest().strip_prefix(word)
                && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.fail("expected a value"))
    }

    fn number(&mut self) -> Result<PyValue, LiteralError> {
        let rest = self.rest();
        let end = rest
            .char_indices()
            .find(|(at, c)| {
                let before = at.checked_sub(1).and_then(|b| rest.as_bytes().get(b));
                let sign = matches!(c, '+' | '-') && (*at == 0 || matches!(before, Some(b'e' | b'E')));
                !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || sign)
            })
            .map_or(rest.len(), |(at, _)| at);
        let digits = rest.get(..end).unwrap_or_default();
        let value = if digits.contains(['.', 'e', 'E']) {
            digits.parse().ok().filter(|number: &f64| number.is_finite()).map(PyValue::Float)
        } else {
            digits.parse().ok().map(PyValue::Int)
        };
        let value = value.ok_or_else(|| self.fail("expected a number of 64 bits"))?;
        self.at += end;
        Ok(value)
    }

    fn items(&mut self, close: char, depth: usize) -> Result<(Vec<PyValue>, bool), LiteralError> {
        self.at += 1;
        let mut items = Vec::new();
        let mut comma = false;
        loop {
            self.blanks();
            if self.eat(close) {
                return Ok((items, comma));
            }
            if !items.is_empty() && !comma {
                return Err(self.fail("expected a comma or the closing bracket"));
            }
            items.push(self.value(depth + 1)?);
            self.blanks();
            comma = self.eat(',');
        }
    }

    fn dict(&mut self, depth: usize) -> Result<PyValue, LiteralError> {
        self.at += 1;
        let mut pairs: Vec<(PyValue, PyValue)> = Vec::new();
        let mut comma = true;
        loop {
            self.blanks();
            if self.eat('}') {
                return Ok(PyValue::Dict(pairs));
            }
            if !comma {
                return Err(self.fail("expected a comma or the closing bracket"));
            }
            let key = self.value(depth + 1)?;
            self.blanks();
            if !self.eat(':') {
                return Err(self.fail("expected a colon"));
            }
            pairs.push((key, self.value(depth + 1)?));
            self.blanks();
            comma = self.eat(',');
        }
    }

    fn string(&mut self) -> Result<String, LiteralError> {
        let quote =
            self.next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(|| self.fail("expected a quote"))?;
        let mut text = String::new();
        loop {
            match self.next() {
                Some(c) if c == quote => return Ok(text),
                Some('\\') => self.escape(&mut text)?,
                Some('\n') | None => return Err(self.fail("the string does not end")),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), LiteralError> {
        let unended = self.fail("the string does not end");
        let c = self.next().ok_or(unended)?;
        let plain = match c {
            '\\' | '\'' | '"' => c,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            '\n' => return Ok(()),
            'x' => self.code(2, 16)?,
            'u' => self.code(4, 16)?,
            'U' => self.code(8, 16)?,
            'N' => return Err(self.fail("named characters are not read")),
            '0'..='7' => {
                self.at -= 1;
                let digits = self.rest().chars().take(3).take_while(|c| c.is_digit(8)).count();
                self.code(digits, 8)?
            }
            // As in Python, an escape that means nothing stands for itself.
            other => {
                text.push('\\');
                other
            }
        };
        text.push(plain);
        Ok(())
    }

    fn code(&mut self, digits: usize, radix: u32) -> Result<char, LiteralError> {
        let code = self.rest().get(..digits).filter(|code| code.chars().all(|c| c.is_digit(radix)));
        let number = code.and_then(|code| u32::from_str_radix(code, radix).ok());
        let c = number.and_then(char::from_u32).ok_or_else(|| self.fail("not a Unicode character"))?;
        self.at += digits;
        Ok(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_barman_writes() {
        let value = PyValue::parse("[('tbs1', 16386, '/srv/lab/pg/tbs1')]").unwrap();
        let row = PyValue::Tuple(vec![
            PyValue::Str("tbs1".into()),
            PyValue::Int(16386),
            PyValue::Str("/srv/lab/pg/tbs1".into()),
        ]);
        assert_eq!(value, PyValue::List(vec![row]));
        assert_eq!(PyValue::parse("(1)").unwrap(), PyValue::Int(1));
        assert_eq!(PyValue::parse("(1,)").unwrap(), PyValue::Tuple(vec![PyValue::Int(1)]));
        assert_eq!(PyValue::parse(r"u'\x41\u00e9\101\'\q'").unwrap(), PyValue::Str("AéA'\\q".into()));
        assert_eq!(
            PyValue::parse("{'a': -1.5e-7, \"b\": {}, }").unwrap(),
            PyValue::Dict(vec![
                (PyValue::Str("a".into()), PyValue::Float(-1.5e-7)),
                (PyValue::Str("b".into()), PyValue::Dict(vec![]))
            ])
        );
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "[",
            "[1 2]",
            "[,]",
            "{1}",
            "{1:}",
            "'",
            "'a\n'",
            "'\\ud800'",
            "'\\x4'",
            "__import__('os')",
            "1e999",
            "9223372036854775808",
            "1 2",
            "None_",
            "Nonee",
            "(1",
            "-",
            "1.2.3",
            "'\\N{BULLET}'",
            "{,}",
            "b'x'",
        ] {
            assert!(PyValue::parse(text).is_err(), "{text:?} gave {:?}", PyValue::parse(text));
        }
        assert!(PyValue::parse(&"[".repeat(100_000)).is_err());
        let deep = format!("{}{}", "[".repeat(32), "]".repeat(32));
        assert!(PyValue::parse(&deep).is_ok());
    }
}
