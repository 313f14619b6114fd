//! Requests that wait for an answer, in a fixed number of places: the oldest makes room.

/// A queue of `N` places. A newcomer takes the place of the oldest where there is no room.
#[derive(Debug, Clone)]
pub(super) struct Open<T, const N: usize> {
    places: [Option<T>; N],
    len: usize,
}

impl<T: Copy, const N: usize> Open<T, N> {
    pub(super) const fn new() -> Self {
        Self {
            places: [None; N],
            len: 0,
        }
    }

    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().take(self.len).flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().take(self.len).flatten()
    }

    /// Takes in one more; returns the oldest, if that had to go.
    pub(super) fn push(&mut self, item: T) -> Option<T> {
        let oldest = if self.len == N { self.remove(0) } else { None };
        if let Some(place) = self.places.get_mut(self.len) {
            *place = Some(item);
            self.len += 1;
        }
        oldest
    }

    /// Takes out the first that `is_it` accepts.
    pub(super) fn take(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.iter().position(is_it)?;
        self.remove(at)
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        let known = self.places.get_mut(at..self.len)?;
        let item = known.first_mut()?.take();
        known.rotate_left(1);
        self.len -= 1;
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_the_others_keep_their_order() {
        let mut open = Open::<u8, 3>::new();
        for item in 1..=3 {
            assert_eq!(open.push(item), None);
        }
        assert_eq!(open.push(4), Some(1));
        assert_eq!(open.take(|item| *item == 3), Some(3));
        assert_eq!(open.take(|item| *item == 3), None);
        assert!(open.iter().eq(&[2, 4]));
        assert_eq!(open.push(5), None);
        assert!(open.iter().eq(&[2, 4, 5]));
    }
}
