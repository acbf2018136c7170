//! Find out what an error of an AI provider means, also where it comes late in a stream.
