//! Users and groups by name or number, as the system knows them.

use nix::unistd::{Group, User};

/// The number of a user.
pub(crate) fn user(text: &str) -> Result<u32, String> {
    number(text, "user", || {
        Ok(User::from_name(text)?.map(|user| user.uid.as_raw()))
    })
}

/// The number of a group.
pub(crate) fn group(text: &str) -> Result<u32, String> {
    number(text, "group", || {
        Ok(Group::from_name(text)?.map(|group| group.gid.as_raw()))
    })
}

fn number(
    text: &str,
    kind: &str,
    look_up: impl FnOnce() -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match look_up() {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(format!("there is no such {kind}")),
        Err(error) => Err(format!("the {kind} cannot be looked up: {}", error.desc())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_and_numbers_taken_as_they_are() {
        assert_eq!(
            (user("root"), user("4321"), group("4321")),
            (Ok(0), Ok(4321), Ok(4321))
        );
        for bad in ["", "-1", "4294967296", "nobody has this name"] {
            assert!(user(bad).is_err() && group(bad).is_err(), "{bad}");
        }
    }
}
