//! What an image's configuration means: who its user is, and what in it is a secret. Each question has one answer for the
//! build's proof, the scan and the audit.

mod image_user;
pub mod secret;

pub use self::image_user::{ImageGroup, ImageUser};
