//! Who sends how much: a row for each connection, and how they look as text.
//! Pure: the time is an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{DecimalBytes, HumanCount};
use uds_ipc::metrics::Tally;
use uds_ipc::{Identity, Peer};

use crate::figures::number;
use crate::speed::{bytes_per_second, messages_per_second};

/// The rows that stay of connections that have ended.
const MOST_ENDED: usize = 1000;

/// A user with a longer name is shown as a number.
const USER_WIDTH: usize = 12;

const KEYS: &str = "q quit   order: m msg/s  b bytes/s  t total  p pid  n name  l last   r reverse";

/// By what the rows are in order, the first on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// Messages a second, the most first
    Messages,
    /// Bytes a second, the most first
    Bytes,
    /// Bytes in all, the most first
    Total,
    /// The number of the process
    Pid,
    /// The name of the program
    Name,
    /// When the last message came, the latest first
    Last,
}

impl Order {
    /// The order that a key stands for.
    pub(crate) fn of_key(key: u8) -> Option<Self> {
        Some(match key {
            b'm' => Self::Messages,
            b'b' => Self::Bytes,
            b't' => Self::Total,
            b'p' => Self::Pid,
            b'n' => Self::Name,
            b'l' => Self::Last,
            _ => return None,
        })
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its sender ended it.
    Ended,
    /// The reader did: it was silent for too long, or what came was wrong. Its sender may live.
    Closed,
}

/// How the rows are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) order: Order,
    pub(crate) is_reversed: bool,
}

/// The connections of a reader.
#[derive(Debug, Default)]
pub(crate) struct Board {
    rows: BTreeMap<u64, Row>,
    /// Those that have ended, the first to end first.
    ended: VecDeque<u64>,
    /// How many more there were, of which no row is left.
    forgotten: u64,
    total: Tally,
    recovered: Tally,
    measured: Option<Instant>,
    /// Over how long the last measurement went.
    elapsed: Duration,
    is_stopping: bool,
}

#[derive(Debug)]
struct Row {
    peer: Peer,
    program: Option<String>,
    user: Option<String>,
    total: Tally,
    /// What it was at the last measurement.
    before: Tally,
    /// By how much it had grown then.
    grown: Tally,
    last: Option<Instant>,
    end: Option<End>,
}

impl Row {
    fn pid(&self) -> Option<u32> {
        self.peer.identity.credentials()?.pid
    }
}

impl Board {
    /// A connection was made by this program and user, as far as their names are known; or one of a
    /// dead process was recovered: its program is no more, and has the name that it had before.
    pub(crate) fn open(&mut self, peer: Peer, program: Option<String>, user: Option<String>) {
        let pid = peer.identity.credentials().and_then(|process| process.pid);
        let earlier = || {
            let mut rows = self.rows.values().rev();
            let same = rows.find(|row| pid.is_some() && row.pid() == pid);
            same.and_then(|row| row.program.clone())
        };
        let row = Row {
            program: program.or_else(earlier),
            peer,
            user: user.filter(|name| name.chars().count() <= USER_WIDTH),
            total: Tally::default(),
            before: Tally::default(),
            grown: Tally::default(),
            last: None,
            end: None,
        };
        self.rows.insert(peer.connection, row);
    }

    /// Messages have come.
    pub(crate) fn count(&mut self, peer: &Peer, came: Tally, now: Instant) {
        self.total += came;
        if peer.recovered {
            self.recovered += came;
        }
        if let Some(row) = self.rows.get_mut(&peer.connection) {
            row.total += came;
            row.last = Some(now);
        }
    }

    /// The reader stops: connections end now because of that, and their senders may live.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// A connection has ended. Its row stays for as long as there are not too many of those.
    pub(crate) fn close(&mut self, peer: &Peer, end: End) {
        let is_stopping = self.is_stopping;
        let row = self.rows.get_mut(&peer.connection);
        let Some(row) = row.filter(|_| !is_stopping) else {
            return;
        };
        row.end = Some(end);
        self.ended.push_back(peer.connection);
        if self.ended.len() > MOST_ENDED {
            if let Some(first) = self.ended.pop_front() {
                self.rows.remove(&first);
                self.forgotten += 1;
            }
        }
    }

    /// Measures how fast messages come, from the last time on.
    pub(crate) fn measure(&mut self, now: Instant) {
        let began = self.measured.replace(now);
        self.elapsed = began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        for row in self.rows.values_mut() {
            let grown = row.total - row.before;
            row.before = row.total;
            // What came before the first measurement took nobody knows how long.
            row.grown = began.map_or_else(Tally::default, |_| grown);
        }
    }

    /// All that a screen of so many lines shows, with a word that was said last.
    pub(crate) fn page(
        &self,
        title: &str,
        word: &str,
        view: View,
        height: usize,
        now: Instant,
    ) -> Vec<String> {
        let summary = format!("{title}: {}", self.summary());
        let mut lines = vec![summary, KEYS.to_owned(), word.to_owned()];
        lines.extend(self.table(view, height.saturating_sub(lines.len() + 1), now));
        lines.truncate(height);
        lines
    }

    /// All rows, as text.
    pub(crate) fn report(&self, title: &str, view: View, now: Instant) -> String {
        let table = self.table(view, usize::MAX, now).join("\n");
        format!("{title}: {}\n{table}\n", self.summary())
    }

    /// What all connections have sent.
    fn summary(&self) -> String {
        let open = self.rows.len() - self.ended.len();
        let mut grown = Tally::default();
        for row in self.rows.values() {
            grown += row.grown;
        }
        let mut text = format!(
            "{} open, {}/s, {}/s; in all {}, {}",
            HumanCount(u64::try_from(open).unwrap_or(u64::MAX)),
            messages_per_second(grown.messages, self.elapsed),
            bytes_per_second(grown.bytes, self.elapsed),
            number(self.total.messages, "message"),
            DecimalBytes(self.total.bytes),
        );
        if self.recovered.messages > 0 {
            let recovered = HumanCount(self.recovered.messages);
            let _ = write!(text, ", {recovered} recovered from dead processes");
        }
        if self.forgotten > 0 {
            let forgotten = HumanCount(self.forgotten);
            let _ = write!(text, "; {forgotten} earlier connections are not shown");
        }
        text
    }

    /// The columns' names, and at most so many rows.
    fn table(&self, view: View, most: usize, now: Instant) -> Vec<String> {
        let mut rows: Vec<&Row> = self.rows.values().collect();
        // A stable sort: rows alike stand in the order in which they came.
        match view.order {
            Order::Messages => {
                rows.sort_by_key(|row| Reverse((row.grown.messages, row.total.messages)));
            }
            Order::Bytes => rows.sort_by_key(|row| Reverse((row.grown.bytes, row.total.bytes))),
            Order::Total => rows.sort_by_key(|row| Reverse((row.total.bytes, row.total.messages))),
            Order::Pid => rows.sort_by_key(|row| row.pid()),
            Order::Name => rows.sort_by(|one, other| one.program.cmp(&other.program)),
            Order::Last => rows.sort_by_key(|row| Reverse(row.last)),
        }
        if view.is_reversed {
            rows.reverse();
        }
        let rows = rows.into_iter().take(most);
        let shown = rows.map(|row| row.text(self.elapsed, now));
        [head(view)].into_iter().chain(shown).collect()
    }
}

/// The columns' names, with a mark at the one that the rows are in order of: which way it goes.
fn head(view: View) -> String {
    let name = |name: &str, order, is_falling: bool| {
        if view.order != order {
            return name.to_owned();
        }
        let mark = if is_falling == view.is_reversed {
            '▲'
        } else {
            '▼'
        };
        format!("{name}{mark}")
    };
    line(
        [
            &name("PID", Order::Pid, false),
            &name("MSG/S", Order::Messages, true),
            &name("BYTES/S", Order::Bytes, true),
            "MESSAGES",
            &name("BYTES", Order::Total, true),
            &name("LAST", Order::Last, false),
        ],
        "USER",
        &name("PROGRAM", Order::Name, false),
    )
}

fn line(numbers: [&str; 6], user: &str, program: &str) -> String {
    let [
        pid,
        messages_per_second,
        bytes_per_second,
        messages,
        bytes,
        last,
    ] = numbers;
    format!(
        "{pid:>10} {user:>USER_WIDTH$} {messages_per_second:>11} {bytes_per_second:>11} {messages:>15} {bytes:>11} {last:>6}  {program}"
    )
}

impl Row {
    fn text(&self, elapsed: Duration, now: Instant) -> String {
        let known = |number: Option<u32>| number.map_or_else(|| "-".into(), |it| it.to_string());
        let mut program = match (self.peer.identity, &self.program) {
            (_, Some(program)) => program.clone(),
            (Identity::Remote(address), None) => address.to_string(),
            _ => "-".to_owned(),
        };
        if self.peer.recovered {
            program.push_str(" (recovered)");
        } else {
            program.push_str(match self.end {
                Some(End::Ended) => " (ended)",
                Some(End::Closed) => " (closed)",
                None => "",
            });
        }
        let uid = || known(self.peer.identity.uid());
        let user = self.user.clone().unwrap_or_else(uid);
        let last = self.last.map(|last| now.saturating_duration_since(last));
        line(
            [
                &known(self.pid()),
                &messages_per_second(self.grown.messages, elapsed),
                &bytes_per_second(self.grown.bytes, elapsed),
                &HumanCount(self.total.messages).to_string(),
                &DecimalBytes(self.total.bytes).to_string(),
                &last.map_or_else(|| "-".to_owned(), ago),
            ],
            &user,
            &program,
        )
    }
}

/// How long ago, in the largest unit.
fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => "now".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(connection: u64, pid: u32) -> Peer {
        let text = format!(
            r#"{{"connection":{connection},"identity":{{"process":{{"uid":7,"gid":7,"pid":{pid}}}}},"recovered":false}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn tally(messages: u64, bytes: u64) -> Tally {
        let mut tally = Tally::default();
        (tally.messages, tally.bytes) = (messages, bytes);
        tally
    }

    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn view(order: Order) -> View {
        View {
            order,
            is_reversed: false,
        }
    }

    /// The programs of the rows, from the top.
    fn programs(board: &Board, view: View, now: Instant) -> Vec<String> {
        let table = board.table(view, usize::MAX, now);
        let program = |line: &String| line.split("  ").last().map(str::to_owned);
        table.iter().skip(1).filter_map(program).collect()
    }

    /// Three connections: `few` sent the longest, `many` the most, `late` the last.
    fn board(now: Instant) -> Board {
        let mut board = Board::default();
        for (connection, pid, program) in [(1, 30, "few"), (2, 20, "many"), (3, 10, "late")] {
            board.open(peer(connection, pid), Some(program.to_owned()), None);
        }
        board.measure(now);
        let later = |seconds| now + Duration::from_secs(seconds);
        board.count(&peer(1, 30), tally(2, 9_000), later(1));
        board.count(&peer(2, 20), tally(4_000, 8_000), later(1));
        board.measure(later(2));
        board.count(&peer(3, 10), tally(1, 50_000), later(3));
        board
    }

    #[test]
    fn the_rows_are_in_the_order_that_was_asked_for() {
        let now = start();
        let board = board(now);
        for (order, expected) in [
            (Order::Messages, ["many", "few", "late"]),
            (Order::Bytes, ["few", "many", "late"]),
            (Order::Total, ["late", "few", "many"]),
            (Order::Pid, ["late", "many", "few"]),
            (Order::Name, ["few", "late", "many"]),
            (Order::Last, ["late", "few", "many"]),
        ] {
            let mut view = view(order);
            assert_eq!(programs(&board, view, now), expected, "{order:?}");
            view.is_reversed = true;
            let mut other_way = expected;
            other_way.reverse();
            let reversed = programs(&board, view, now);
            assert!(order == Order::Last || reversed == other_way, "{order:?}");
        }
    }

    #[test]
    fn a_row_tells_who_and_how_much() {
        let now = start();
        let board = board(now);
        let page = board.page(
            "s",
            "a word",
            view(Order::Messages),
            6,
            now + Duration::from_secs(75),
        );
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(page.len(), 6, "the screen has no more lines");
        assert_eq!(
            page[0],
            "s: 3 open, 2,001/s, 8.50 kB/s; in all 4,003 messages, 67.00 kB"
        );
        assert!(page[1].starts_with("q quit") && page[2] == "a word");
        assert_eq!(
            words(&page[4]),
            words("20 7 2,000 4.00 kB 4,000 8.00 kB 1 min many")
        );
        for height in 0..4 {
            assert_eq!(
                board.page("s", "", view(Order::Pid), height, now).len(),
                height
            );
        }
    }

    #[test]
    fn the_head_shows_the_order_and_which_way_it_goes() {
        for (order, name, mark, other_way) in [
            (Order::Messages, "MSG/S", '▼', '▲'),
            (Order::Bytes, "BYTES/S", '▼', '▲'),
            (Order::Total, "BYTES", '▼', '▲'),
            (Order::Pid, "PID", '▲', '▼'),
            (Order::Name, "PROGRAM", '▲', '▼'),
            (Order::Last, "LAST", '▲', '▼'),
        ] {
            for (is_reversed, mark) in [(false, mark), (true, other_way)] {
                let head = head(View { order, is_reversed });
                let marked: Vec<_> = head
                    .split_whitespace()
                    .filter(|name| name.ends_with(['▲', '▼']))
                    .collect();
                assert_eq!(marked, [format!("{name}{mark}")]);
            }
        }
    }

    #[test]
    fn a_user_has_a_name_where_there_is_one_that_fits_and_an_end_says_whose_it_was() {
        let now = start();
        let mut board = Board::default();
        for (connection, user, end) in [
            (1, Some("telemetry"), Some(End::Ended)),
            (2, Some("a-name-too-long"), Some(End::Closed)),
            (3, None, None),
        ] {
            let peer = peer(connection, 9);
            board.open(peer, Some("it".to_owned()), user.map(str::to_owned));
            if let Some(end) = end {
                board.close(&peer, end);
            }
        }
        board.stop();
        board.close(&peer(3, 9), End::Ended);
        let table = board.table(view(Order::Last), usize::MAX, now);
        let words = |line: &String| {
            let words: Vec<_> = line.split_whitespace().collect();
            format!("{} {}", words[1], words[9..].join(" "))
        };
        let rows: Vec<_> = table.iter().skip(1).map(words).collect();
        assert_eq!(rows, ["telemetry it (ended)", "7 it (closed)", "7 it"]);
    }

    #[test]
    fn what_was_recovered_is_named_as_its_process_was() {
        let now = start();
        let mut board = board(now);
        let mut dead = peer(4, 20);
        dead.recovered = true;
        board.open(dead, None, None);
        board.count(&dead, tally(7, 7), now);
        board.close(&dead, End::Ended);
        assert!(programs(&board, view(Order::Pid), now).contains(&"many (recovered)".to_owned()));
        assert!(
            board
                .summary()
                .ends_with(", 7 recovered from dead processes")
        );
    }

    #[test]
    fn ended_connections_stay_and_not_for_ever() {
        let now = start();
        let mut board = board(now);
        for connection in 4..2_000 {
            let peer = peer(connection, 99);
            board.open(peer, None, None);
            board.count(&peer, tally(1, 1), now);
            board.close(&peer, End::Ended);
        }
        assert_eq!(board.rows.len(), MOST_ENDED + 3);
        assert!(board.rows.contains_key(&1_999) && !board.rows.contains_key(&4));
        let summary = board.summary();
        assert!(summary.starts_with("3 open, "), "{summary}");
        assert!(
            summary.ends_with("; 996 earlier connections are not shown"),
            "{summary}"
        );
        assert_eq!(board.total.messages, 4_003 + 1_996);
        // One of which nothing is known does no harm.
        board.close(&peer(4, 99), End::Ended);
        board.count(&peer(4, 99), tally(1, 1), now);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_page_fits_and_the_sums_are_right(
            steps in prop::collection::vec((0_u64..6, 1_u64..9, any::<u32>()), 0..60),
            height in 0_usize..30,
        ) {
            let mut now = start();
            let mut board = Board::default();
            let mut sum = Tally::default();
            for (step, connection, amount) in steps {
                let peer = peer(connection, amount % 5);
                let is_open = board.rows.get(&connection).is_some_and(|row| row.end.is_none());
                match step {
                    // No number comes twice.
                    0 | 1 if board.rows.contains_key(&connection) => {}
                    0 => board.open(peer, None, None),
                    1 => board.open(peer, Some("program".to_owned()), Some("user".to_owned())),
                    2 if is_open => board.close(&peer, End::Closed),
                    3 => {
                        now += Duration::from_millis(amount.into());
                        board.measure(now);
                    }
                    _ if is_open => {
                        let came = tally(1, amount.into());
                        board.count(&peer, came, now);
                        sum += came;
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(board.total, sum);
            let of_rows = board.rows.values().fold(Tally::default(), |sum, row| sum + row.total);
            prop_assert_eq!(of_rows, sum);
            for order in Order::value_variants() {
                let page = board.page("s", "", view(*order), height, now);
                prop_assert_eq!(page.len(), height.min(4 + board.rows.len()));
                prop_assert!(page.iter().all(|line| !line.contains(char::is_control)));
            }
        }
    }
}
