//! Links raft-core into a program without std.

#![no_std]

extern crate alloc;

use talc::{ErrOnOom, Talc, Talck};

#[global_allocator]
static ALLOCATOR: Talck<spin::Mutex<()>, ErrOnOom> = Talc::new(ErrOnOom).lock();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Uses enough of the crate that all of it is compiled in.
pub fn step(node: &mut raft_core::Node, event: raft_core::Event) -> usize {
    node.step(event).len()
}
