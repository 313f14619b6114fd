//! Requests that wait for an answer, in a fixed number of places: the oldest makes room.

/// `N` places. A newcomer takes the place of the oldest where there is no room.
#[derive(Debug, Clone)]
pub(super) struct Open<T, const N: usize> {
    /// Each with its number in the order of coming.
    places: [Option<(u32, T)>; N],
    len: usize,
    next: u32,
}

impl<T: Copy, const N: usize> Open<T, N> {
    pub(super) const fn new() -> Self {
        Self {
            places: [None; N],
            len: 0,
            next: 0,
        }
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let places = self.places.iter().take(self.len);
        places.flatten().map(|(_, item)| item)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let places = self.places.iter_mut().take(self.len);
        places.flatten().map(|(_, item)| item)
    }

    /// Takes in one more; returns the oldest, if that had to go.
    pub(super) fn push(&mut self, item: T) -> Option<T> {
        let oldest = if self.len == N {
            let age = |(_, place): &(usize, &Option<(u32, T)>)| place.map(|(number, _)| number);
            let oldest = self.places.iter().enumerate().min_by_key(age);
            oldest.map(|(at, _)| at).and_then(|at| self.remove(at))
        } else {
            None
        };
        if let Some(place) = self.places.get_mut(self.len) {
            *place = Some((self.next, item));
            self.len += 1;
            self.next = self.next.wrapping_add(1);
        }
        oldest
    }

    /// Takes out the first that `is_it` accepts.
    pub(super) fn take(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.iter().position(is_it)?;
        self.remove(at)
    }

    /// The last moves into the place that gets free.
    fn remove(&mut self, at: usize) -> Option<T> {
        let known = self.places.get_mut(..self.len)?;
        let last = known.len().checked_sub(1)?;
        known.swap(at, last);
        let (_, item) = known.last_mut()?.take()?;
        self.len = last;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn the_oldest_makes_room_and_the_others_stay() {
        let mut open = Open::<u8, 3>::new();
        let sorted = |open: &Open<u8, 3>| {
            let mut items: Vec<u8> = open.iter().copied().collect();
            items.sort_unstable();
            items
        };
        for item in 1..=3 {
            assert_eq!(open.push(item), None);
        }
        assert_eq!(open.take(|item| *item == 1), Some(1));
        assert_eq!(open.take(|item| *item == 1), None);
        assert_eq!(open.push(4), None);
        assert_eq!(open.push(5), Some(2));
        assert_eq!(sorted(&open), [3, 4, 5]);
        assert_eq!(open.push(6), Some(3));
        assert_eq!(open.take(|item| *item == 6), Some(6));
        assert_eq!(sorted(&open), [4, 5]);
    }
}
