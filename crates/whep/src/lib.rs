//! The HTTP front door: WHEP, API and web pages.
