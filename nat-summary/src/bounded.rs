//! Sorted facts in a fixed number of places, because the judge must not use the heap.

use core::cmp::Ordering;
use core::fmt;

/// Sorted facts in a fixed number of places. If there are too many facts, the greatest keys are
/// dropped, because the kept facts must not depend on the order of arrival.
///
/// The places are not cleared in advance, because most gatherings have a few facts of a kind, and
/// clearing room for many would cost more than judging them.
#[derive(Clone, Copy)]
pub(crate) struct Sorted<T, const FEW: usize, const MANY: usize> {
    places: Places<T, FEW, MANY>,
    len: usize,
}

#[derive(Clone, Copy)]
enum Places<T, const FEW: usize, const MANY: usize> {
    Few([T; FEW]),
    Many([T; MANY]),
}

impl<T: Copy, const FEW: usize, const MANY: usize> Sorted<T, FEW, MANY> {
    #[inline(always)]
    pub(crate) const fn new(filler: T) -> Self {
        Self {
            places: Places::Few([filler; FEW]),
            len: 0,
        }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        let places: &[T] = match &self.places {
            Places::Few(few) => few,
            Places::Many(many) => many,
        };
        places.get(..self.len).unwrap_or(&[])
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        let len = self.len;
        self.places_mut().get_mut(..len).unwrap_or(&mut [])
    }

    fn places_mut(&mut self) -> &mut [T] {
        match &mut self.places {
            Places::Few(few) => few,
            Places::Many(many) => many,
        }
    }

    /// The fact that `order` calls equal, or the place where it belongs.
    #[inline]
    pub(crate) fn find(&mut self, order: impl Fn(&T) -> Ordering + Copy) -> Result<&mut T, usize> {
        let known = self.as_mut_slice();
        // facts mostly come in order
        let at = match known.last().map_or(Ordering::Less, order) {
            Ordering::Less => Err(known.len()),
            Ordering::Equal => Ok(known.len() - 1),
            Ordering::Greater => known.binary_search_by(order),
        }?;
        known.get_mut(at).ok_or(at)
    }

    /// Inserts at `at` and moves the facts behind it; returns the one of them, or `item` itself, that
    /// fell off the end.
    #[inline]
    pub(crate) fn insert(&mut self, at: usize, item: T) -> Option<T> {
        if self.len == FEW {
            self.make_room(item);
        }
        let lost = if self.len < MANY {
            self.len += 1;
            None
        } else {
            self.as_slice()
                .last()
                .copied()
                .filter(|_| at < MANY)
                .or(Some(item))
        };
        match self.as_mut_slice().get_mut(at..) {
            // at the end, where most belong
            Some([place]) => *place = item,
            Some(tail @ [_, ..]) => {
                tail.copy_within(..tail.len() - 1, 1);
                tail[0] = item;
            }
            _ => {}
        }
        lost
    }

    /// Keeps the facts that `keep` accepts, in their order.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let known = self.as_mut_slice();
        let mut kept = 0;
        for at in 0..known.len() {
            if known.get(at).is_some_and(&keep) {
                known.copy_within(at..=at, kept);
                kept += 1;
            }
        }
        self.len = kept;
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, filler: T) {
        if let Places::Few(few) = self.places {
            let mut many = [filler; MANY];
            if let Some(head) = many.get_mut(..FEW) {
                head.copy_from_slice(&few);
            }
            self.places = Places::Many(many);
        }
    }
}

impl<T: Copy + fmt::Debug, const FEW: usize, const MANY: usize> fmt::Debug
    for Sorted<T, FEW, MANY>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_stay_keep_their_order_and_the_room_of_the_others_is_free() {
        let mut sorted = Sorted::<u8, 2, 4>::new(0);
        for at in 0..4 {
            sorted.insert(at, 10 * (at as u8 + 1));
        }
        sorted.retain(|item| ![10, 30].contains(item));
        assert_eq!(sorted.as_slice(), [20, 40]);
        for item in [50, 30] {
            let at = sorted.find(|known| known.cmp(&item)).unwrap_err();
            assert_eq!(sorted.insert(at, item), None);
        }
        assert_eq!(sorted.as_slice(), [20, 30, 40, 50]);
        assert_eq!(sorted.insert(1, 25), Some(50));
        assert_eq!(sorted.insert(4, 60), Some(60));
        sorted.retain(|_| false);
        assert!(sorted.as_slice().is_empty());
    }

    #[test]
    fn the_greatest_go_when_there_is_no_room_whatever_the_order() {
        let fill = |order: &[u8]| {
            let mut sorted = Sorted::<u8, 2, 4>::new(0);
            for item in order {
                if let Err(at) = sorted.find(|known| known.cmp(item)) {
                    sorted.insert(at, *item);
                }
            }
            sorted.as_slice().to_vec()
        };
        assert_eq!(fill(&[3, 1, 3, 1]), [1, 3]);
        assert_eq!(fill(&[6, 5, 4, 3, 2, 1]), [1, 2, 3, 4]);
        assert_eq!(fill(&[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4]);
    }
}
