//! Users and groups by name or number, as the system knows them.

use nix::unistd::{Group, Uid, User};

use crate::program::printable;

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

/// The name of a user, where it has one.
pub(crate) fn name(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(printable(user.name.as_bytes()))
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
    fn a_number_has_a_name_where_the_system_knows_one() {
        assert_eq!(
            name(0),
            User::from_uid(Uid::from_raw(0)).unwrap().map(|it| it.name)
        );
        assert_eq!(name(4_294_967_294), None);
    }

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
