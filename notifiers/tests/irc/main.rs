//! The IRC bot: its words, and conversations over real servers.

mod accounts;
mod conversations;
mod cuts;
mod fake;
mod people;
mod words;
