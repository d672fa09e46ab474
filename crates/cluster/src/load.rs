//! The load of this node.

use std::sync::atomic::Ordering;

use distributary_hub::Pressure;

use crate::context::Context;
use crate::share::Share;

/// The value of [`Context::cpu`] while it is not known.
pub(crate) const CPU_UNKNOWN: u8 = u8::MAX;

/// Returns the load of this node: all of it while it refuses viewers for lack of memory. (A stream of
/// another node needs no check of its own: it is joined for a viewer that was admitted.)
pub(crate) fn load(context: &Context) -> Share {
    if context.hub.memory().pressure() >= Pressure::Viewers {
        return Share::percent(100);
    }
    let viewers = context.hub.viewers();
    let viewers = Share::of(viewers.count(), viewers.limits().max);
    cpu(context).map_or(viewers, |cpu| viewers.max(cpu))
}

/// Returns the CPU time of this node, if it is known.
pub(crate) fn cpu(context: &Context) -> Option<Share> {
    let cpu = context.cpu.load(Ordering::Relaxed);
    (cpu <= 100).then_some(Share::percent(cpu))
}
