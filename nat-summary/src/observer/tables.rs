//! Where the tables of a [`Peer`](super::Peer) lie: in a fixed place, or on a heap that this crate does
//! without.

use core::fmt;

/// An entry of a table. This crate implements it for its own.
pub trait Entry: Copy + fmt::Debug {
    /// Fills a place that is free.
    const BLANK: Self;
}

/// Entries in the order in which they were put.
pub trait Table<T> {
    /// Without an entry.
    const EMPTY: Self;

    /// The entries.
    fn entries(&self) -> &[T];

    /// The same, to change them.
    fn entries_mut(&mut self) -> &mut [T];

    /// Puts an entry at `at`, and moves those behind it. `at` is at most the number of entries, and there
    /// is room: that number is below the table's greatest.
    fn insert(&mut self, at: usize, entry: T);

    /// Takes the entry at `at` out, and moves those behind it.
    fn remove(&mut self, at: usize);
}

/// The kind of tables that a [`Peer`](super::Peer) keeps its entries in.
///
/// A program with a heap has its tables grow to the few entries that a peer really needs:
///
/// ```
/// use nat_summary::observer::{Entry, Peer, Table, Tables};
///
/// #[derive(Debug, Clone)]
/// struct Grown<T>(Vec<T>);
///
/// impl<T> Table<T> for Grown<T> {
///     const EMPTY: Self = Self(Vec::new());
///     fn entries(&self) -> &[T] {
///         &self.0
///     }
///     fn entries_mut(&mut self) -> &mut [T] {
///         &mut self.0
///     }
///     fn insert(&mut self, at: usize, entry: T) {
///         self.0.insert(at, entry);
///     }
///     fn remove(&mut self, at: usize) {
///         self.0.remove(at);
///     }
/// }
///
/// #[derive(Debug, Clone)]
/// struct OnHeap;
///
/// impl Tables for OnHeap {
///     type Of<T: Entry, const MOST: usize> = Grown<T>;
/// }
///
/// assert!(size_of::<Peer<OnHeap>>() < size_of::<Peer>() / 16);
/// ```
pub trait Tables: Clone + fmt::Debug {
    /// A table of at most so many entries.
    type Of<T: Entry, const MOST: usize>: Table<T> + Clone + fmt::Debug;
}

/// Tables of a fixed size, which take nothing from the heap.
///
/// ```
/// use nat_summary::observer::{InPlace, Peer};
/// assert_eq!(Peer::<InPlace>::new().pairs().len(), 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InPlace;

impl Tables for InPlace {
    type Of<T: Entry, const MOST: usize> = Fixed<T, MOST>;
}

/// A table of [`InPlace`].
#[derive(Clone, Copy)]
pub struct Fixed<T, const MOST: usize> {
    places: [T; MOST],
    len: usize,
}

impl<T: Entry, const MOST: usize> Table<T> for Fixed<T, MOST> {
    const EMPTY: Self = Self {
        places: [T::BLANK; MOST],
        len: 0,
    };

    fn entries(&self) -> &[T] {
        self.places.get(..self.len).unwrap_or(&[])
    }

    fn entries_mut(&mut self) -> &mut [T] {
        self.places.get_mut(..self.len).unwrap_or(&mut [])
    }

    fn insert(&mut self, at: usize, entry: T) {
        if at > self.len || self.len >= MOST {
            return;
        }
        self.len += 1;
        if let Some(tail @ [_, ..]) = self.entries_mut().get_mut(at..) {
            tail.copy_within(..tail.len() - 1, 1);
            tail[0] = entry;
        }
    }

    fn remove(&mut self, at: usize) {
        if at < self.len {
            self.entries_mut().copy_within(at + 1.., at);
            self.len -= 1;
        }
    }
}

impl<T: Entry, const MOST: usize> fmt::Debug for Fixed<T, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entry for u8 {
        const BLANK: Self = 0;
    }

    #[test]
    fn entries_keep_their_order_and_their_bound() {
        let mut table = Fixed::<u8, 3>::EMPTY;
        for (at, entry) in [(0, 2), (0, 1), (2, 3)] {
            table.insert(at, entry);
        }
        assert_eq!(table.entries(), [1, 2, 3]);
        table.insert(3, 4);
        assert_eq!(table.entries(), [1, 2, 3], "there is no room");
        table.remove(1);
        assert_eq!(table.entries(), [1, 3]);
        table.remove(2);
        table.insert(9, 9);
        assert_eq!(table.entries(), [1, 3], "there is no such place");
        table.insert(1, 2);
        assert_eq!(table.entries(), [1, 2, 3]);
    }
}
