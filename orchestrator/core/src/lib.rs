//! Pure decisions of Rayfleet.
