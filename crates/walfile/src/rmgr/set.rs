//! Sets of resource managers.

use crate::rmgr::Rmgr;

/// A set of resource managers, to say of which records one wants to know.
///
/// ```
/// use walfile::rmgr::{Rmgr, RmgrSet};
/// let set: RmgrSet = [Rmgr::XLOG, Rmgr::TRANSACTION].into_iter().collect();
/// assert!(set.contains(Rmgr::XLOG) && !set.contains(Rmgr::HEAP));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RmgrSet([u128; 2]);

impl RmgrSet {
    /// No resource manager.
    pub const NONE: Self = Self([0; 2]);

    /// The set with one more.
    #[must_use]
    pub const fn with(self, rmgr: Rmgr) -> Self {
        let ([mut low, mut high], bit) = (self.0, 1 << (rmgr.id() % 128));
        if rmgr.id() < 128 {
            low |= bit
        } else {
            high |= bit
        }
        Self([low, high])
    }

    /// Whether it is in the set.
    pub const fn contains(self, rmgr: Rmgr) -> bool {
        let [low, high] = self.0;
        (if rmgr.id() < 128 { low } else { high }) >> (rmgr.id() % 128) & 1 != 0
    }
}

impl FromIterator<Rmgr> for RmgrSet {
    fn from_iter<I: IntoIterator<Item = Rmgr>>(rmgrs: I) -> Self {
        rmgrs.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        let set: RmgrSet = [0, 10, 127, 128, 255].map(Rmgr::new).into_iter().collect();
        let held: Vec<u8> = (0..=255).filter(|id| set.contains(Rmgr::new(*id))).collect();
        assert_eq!(held, [0, 10, 127, 128, 255]);
    }
}
