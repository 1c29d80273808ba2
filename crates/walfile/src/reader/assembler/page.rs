//! Going over to the next page.

use super::Assembler;
use crate::page::{LongPageHeader, PageHeader};
use crate::reader::EndReason;
use crate::reader::pages::PageCheck;
use crate::{Lsn, PageError};

impl Assembler {
    /// Reads a page header; `None` when it is not all there.
    pub(super) fn enter_page(&mut self, rest: &[u8]) -> Result<Option<usize>, EndReason> {
        let fresh = !self.entered;
        let length = match &self.pages {
            None => match LongPageHeader::parse(rest) {
                Ok(first) => {
                    self.at = first.page.address.get();
                    self.major = first.page.magic.major();
                    self.pages = Some(PageCheck::new(first, self.history.clone()));
                    LongPageHeader::LEN
                }
                Err(PageError::TooShort { .. }) => return Ok(None),
                Err(error) => return Err(EndReason::Page { page: Lsn::new(self.at), error }),
            },
            Some(pages) => pages.header_len(self.at),
        };
        let (Some(bytes), Some(pages)) = (rest.get(..length), &mut self.pages) else { return Ok(None) };
        let header = pages.check(self.at, bytes)?;
        let page_end = self
            .at
            .checked_add(pages.block())
            .ok_or(EndReason::PageAddress { page: Lsn::new(self.at), found: header.address })?;
        self.join(&header, fresh)?;
        self.entered = true;
        self.page_end = page_end;
        self.at += length as u64;
        Ok(Some(length))
    }

    /// Whether the page goes on with what the page before left.
    fn join(&mut self, header: &PageHeader, fresh: bool) -> Result<(), EndReason> {
        let page = header.address;
        let continued = header.info.has_continued_record();
        if header.info.overwrites_continued_record() && !continued {
            // After a crash in the middle of a record: it is given up, and the log goes on here. The next record
            // links back to the last whole one of the server that wrote it, which need not be the one seen here.
            self.lost = self.unfinished.take().map(Lsn::new);
            self.foreign = 0;
            self.prev = None;
            return Ok(());
        }
        let missing = match self.unfinished {
            Some(_) => self.missing,
            None => self.foreign,
        };
        match (continued, missing) {
            (true, 0) if fresh => self.foreign = header.remaining,
            (true, 0) => return Err(EndReason::Continued { page }),
            (false, 0) => {}
            (false, _) => return Err(EndReason::NotContinued { page }),
            (true, expected) if expected != header.remaining => {
                return Err(EndReason::Remaining { page, expected, found: header.remaining });
            }
            (true, _) => {}
        }
        Ok(())
    }
}
