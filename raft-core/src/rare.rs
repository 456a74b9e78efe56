//! What a node seldom has, so that one that is idle does without.
//!
//! Always holds: nothing at all, and a box with nothing in it, are the same to whoever looks.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

/// What a [`Rare`] may hold: something that can be empty, and then says nothing.
pub(crate) trait Seldom: Default + 'static {
    /// What there is while nothing was made.
    const NOTHING: &'static Self;

    /// Whether it says nothing, so that it need not be kept.
    fn is_nothing(&self) -> bool;
}

/// Something in a box that is made on first use, and given back when there is nothing in it.
///
/// Not as soon as that is so: what comes and goes with every commit would ask for memory as often.
#[derive(Clone)]
pub(crate) struct Rare<T>(Option<Box<T>>);

impl<T> Rare<T> {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// What was made, to be changed; whoever only takes something away need not make it for that.
    #[inline]
    pub(crate) fn made(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// What was made, for whoever has no more use for the box.
    pub(crate) fn into_made(self) -> Option<T> {
        self.0.map(|made| *made)
    }

    /// What was made, to look at.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

impl<T: Seldom> Rare<T> {
    /// What there is from now on.
    #[inline]
    pub(crate) fn make(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// Gives the box back if there is nothing in it.
    pub(crate) fn give_back(&mut self) {
        self.0.take_if(|made| made.is_nothing());
    }
}

impl<T: Seldom> Default for Rare<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Seldom> Deref for Rare<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.get().unwrap_or(T::NOTHING)
    }
}

impl<T: Seldom + PartialEq> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Seldom + Eq> Eq for Rare<T> {}

impl<T: Seldom + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: 'static> Seldom for VecDeque<T> {
    const NOTHING: &'static Self = &Self::new();

    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl<T: 'static> Seldom for Vec<T> {
    const NOTHING: &'static Self = &Self::new();

    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}
