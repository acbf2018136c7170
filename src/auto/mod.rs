//! Several providers and models, each with its own quota: whichever can answer soonest does.
