//! Answers to the offers of real players, and to hand-written edge cases.

mod expected;
mod interop;
mod properties;
mod rules;
mod support;
