//! A replica group.
