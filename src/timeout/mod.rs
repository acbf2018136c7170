//! Bounds on how long things may take: an attempt, the first byte, the wait between chunks, the whole call.
