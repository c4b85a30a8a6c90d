//! The schema `report`: that it is applied, promised, guarded, quick, and as the manual says.

mod apply;
mod attacks;
mod catalogue;
mod common;
mod histograms;
mod manual;
mod plans;
mod sums;
