//! A cell that may stand in values of the interpreter, which may move between
//! threads as a whole. One thread uses it at a time; nothing waits for it.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Debug, Default)]
pub(super) struct Slot<T>(RwLock<T>);

/// Nobody panics while a slot is borrowed, and a borrow ends before the next begins.
const SOUND: &str = "no panic while it is borrowed";

impl<T> Slot<T> {
    pub fn new(value: T) -> Self {
        Slot(RwLock::new(value))
    }

    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().expect(SOUND)
    }

    pub fn borrow_mut(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().expect(SOUND)
    }

    pub fn set(&self, value: T) {
        *self.borrow_mut() = value;
    }

    pub fn replace(&self, value: T) -> T {
        std::mem::replace(&mut self.borrow_mut(), value)
    }
}

impl<T: Copy> Slot<T> {
    pub fn get(&self) -> T {
        *self.borrow()
    }
}

impl<T: Default> Slot<T> {
    pub fn take(&self) -> T {
        std::mem::take(&mut self.borrow_mut())
    }
}
