//! Ray dashboards, engines and their clients, as `ray-bridge` sees them.
