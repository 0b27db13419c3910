//! Bytes by their digest and records by their key. It knows no stages.
