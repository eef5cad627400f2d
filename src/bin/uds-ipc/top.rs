//! `uds-ipc top`: a reader that shows who sends how much.
//! Waits, and puts the board on the screen; counting and drawing are elsewhere.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, Sender, after, never, select, tick, unbounded};
use parking_lot::Mutex;

use crate::board::{Board, Order, View};
use crate::clock::now;
use crate::format::{Format, Layout};
use crate::listening::{self, Stop, Taking};
use crate::output::Output;
use crate::say::WrongUsage;
use crate::screen::Screen;
use crate::{say, signals, values};

/// What Ctrl-C is as a key.
const INTERRUPT: u8 = 3;

const DETAILS: &str = "\
It is the listener: only who reads a socket sees who sends. So it takes the place of the
collector at ADDRESS while it runs: stop that first, or have it listen at another address and
lead all messages through top, as in the last example. Messages are thrown away unless --format
says how to print them, into a file or a pipe.

On a terminal the screen shows a row for each connection, the busiest on top: the process, its
user and program when it connected, what came in the last interval and in all, and how long ago
the last message came. The rows are in order of the column with the mark: ▼ the largest first,
▲ the smallest. Keys: q quits, m b t p n l choose the order, r turns it around. At the end, and
where there is no terminal, the table is printed.

Connections that are over stay, the last 1,000 of them: (ended) by the sender; (closed) by top,
because it was silent for --idle-timeout or sent what is no message: its sender may live, and
come back as another row. (recovered) ones hold what a crash-proof sender left when it died.

How much waits unread in the sockets the reader does not know: see Recv-Q of `ss -xp`.

A DURATION is seconds, such as 10 or 0.5, or has units: 200ms, 5m, 1h30m.

Exit codes: 0 stopped as asked, 1 something failed, 2 wrong usage.

Examples:
  uds-ipc top /run/collector/telemetry.sock
  uds-ipc top /run/collector/telemetry.sock --for 10 --sort total > who.txt
  uds-ipc top @telemetry --format frames > messages.bin
  uds-ipc top /run/a.sock --format frames | uds-ipc send /run/b.sock --frames --quiet";

/// Listens at an address and shows who sends how much, as top does for processes
#[derive(Debug, Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Options {
    /// By what the rows are in order
    #[arg(long, value_enum, default_value_t = Order::Bytes)]
    sort: Order,

    /// Over how long speeds are measured, and how often the screen changes
    #[arg(long, value_name = "DURATION", default_value = "1", value_parser = values::positive_duration)]
    interval: Duration,

    /// Stops after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = values::positive_duration)]
    time: Option<Duration>,

    /// How to print messages on standard output
    #[arg(long, value_enum, default_value_t = Format::None)]
    format: Format,

    #[command(flatten)]
    place: listening::Place,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    if options.format != Format::None && io::stdout().is_terminal() {
        let why = "the screen is in the way of messages: lead them into a file or a pipe";
        return Err(WrongUsage(why.into()).into());
    }
    let (stop, stops) = unbounded();
    let layout = Layout {
        format: options.format,
        end: b'\n',
    };
    let (on_over, on_signal) = (stop.clone(), stop.clone());
    let output = Arc::new(Output::new(layout, false, None, move |over| {
        let _ = on_over.send(Stop::Output(over));
    })?);
    signals::on_first(move || {
        let _ = on_signal.send(Stop::Asked);
    })?;
    let board = Arc::new(Mutex::new(Board::default()));
    let handler = Taking {
        output: Arc::clone(&output),
        board: Some(Arc::clone(&board)),
    };
    let service = listening::start(&options.place, handler, stop.clone())?;
    let name = service
        .readers()
        .first()
        .map(|reader| reader.address().to_string());
    let mut showing = Showing {
        title: name.unwrap_or_default(),
        board: &board,
        view: View {
            order: options.sort,
            is_reversed: false,
        },
    };
    let stop = showing.wait(options, &stops, &stop)?;
    board.lock().stop();
    let later = || stops.try_iter().collect();
    let (code, _) = listening::finish(&service, &output, stop, later)?;
    let table = board.lock().report(&showing.title, showing.view, now());
    if options.format == Format::None {
        // Who closed it does not want it.
        let _ = io::stdout().write_all(table.as_bytes());
    } else {
        say::last(table.trim_end());
    }
    Ok(code)
}

/// The board as it is looked at.
struct Showing<'a> {
    title: String,
    board: &'a Mutex<Board>,
    view: View,
}

impl Showing<'_> {
    /// Shows the board until it is time to stop. The terminal is as before then, whatever the rest
    /// takes.
    fn wait(
        &mut self,
        options: &Options,
        stops: &Receiver<Stop>,
        stop: &Sender<Stop>,
    ) -> io::Result<Stop> {
        let end = options.time.map_or_else(never, after);
        let ticks = tick(options.interval);
        let (press, keys) = unbounded();
        // Dropped after the screen: what was held back is said where it stays.
        let mut held = Some(say::hold());
        let mut screen = Screen::open()?;
        if screen.is_none() {
            drop(held.take());
        }
        if let Some(screen) = &screen {
            let stop = stop.clone();
            screen.keys(move |key| match key {
                None | Some(b'q' | INTERRUPT) => {
                    let _ = stop.send(Stop::Asked);
                    false
                }
                Some(key) => press.send(key).is_ok(),
            })?;
        }
        self.board.lock().measure(now());
        loop {
            if let Some(screen) = &mut screen {
                let word = say::last_held();
                let board = self.board.lock();
                let lines = board.page(&self.title, &word, self.view, screen.height(), now());
                drop(board);
                screen.draw(&lines)?;
            }
            select! {
                // Another sender is in our hands.
                recv(stops) -> reason => return Ok(reason.unwrap_or(Stop::Asked)),
                recv(end) -> _ => return Ok(Stop::Time),
                recv(ticks) -> _ => self.board.lock().measure(now()),
                recv(keys) -> key => match key {
                    Ok(b'r') => self.view.is_reversed = !self.view.is_reversed,
                    Ok(key) => self.view.order = Order::of_key(key).unwrap_or(self.view.order),
                    Err(_) => {}
                },
            }
        }
    }
}
