//! Answers to the offers of real players, and to hand-written ones of every odd shape.

mod expected;
mod interop;
mod properties;
mod rules;
mod support;
