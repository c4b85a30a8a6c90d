//! What each report must say, computed from the truth.
