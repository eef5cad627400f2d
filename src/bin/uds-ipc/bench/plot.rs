//! The picture of the throughput: an SVG with a line for each contender.
//! The file is opened before the run, so that one that cannot be written is found at once.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

use super::cases::Stream;
use super::failure::Failure;
use super::numbers::Spread;
use super::report::{short, size, title};
use super::results::{Results, Row};

const EXTENT: (u32, u32) = (1000, 640);

/// One for each number of producers, the stronger the more.
const UNIX: [RGBColor; 4] = [
    RGBColor(230, 120, 60),
    RGBColor(200, 60, 20),
    RGBColor(150, 30, 10),
    RGBColor(90, 10, 0),
];
const HANDWRITTEN: [RGBColor; 4] = [
    RGBColor(90, 150, 220),
    RGBColor(40, 95, 180),
    RGBColor(20, 60, 130),
    RGBColor(5, 30, 80),
];
const TCP: [RGBColor; 4] = [
    RGBColor(110, 190, 90),
    RGBColor(60, 140, 40),
    RGBColor(30, 95, 15),
    RGBColor(10, 55, 0),
];
const PIPE: [RGBColor; 4] = [
    RGBColor(190, 120, 210),
    RGBColor(145, 70, 170),
    RGBColor(100, 35, 125),
    RGBColor(60, 10, 80),
];

fn ours_of(stream: Stream) -> [RGBColor; 4] {
    match stream {
        Stream::Unix => UNIX,
        Stream::Tcp => TCP,
        Stream::Pipe => PIPE,
    }
}

fn raw_of(stream: Stream) -> RGBColor {
    match stream {
        Stream::Unix => RGBColor(110, 110, 110),
        Stream::Tcp => RGBColor(160, 160, 160),
        Stream::Pipe => RGBColor(60, 60, 60),
    }
}

/// A file that is there and can be written; taken away again if nothing was and it is new.
pub(super) struct Picture {
    path: PathBuf,
    file: File,
    is_left_over: bool,
}

impl Picture {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let is_new = !path.exists();
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let file = file.map_err(|source| Failure::Plot {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_left_over: is_new,
        })
    }

    pub(super) fn write(mut self, results: &Results) -> Result<(), Failure> {
        let svg = draw(results)?;
        self.replace(&svg).map_err(|source| Failure::Plot {
            path: self.path.clone(),
            source,
        })?;
        self.is_left_over = false;
        Ok(())
    }

    fn replace(&mut self, svg: &str) -> io::Result<()> {
        // What is no file, such as a pipe, has no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
            self.file.rewind()?;
        }
        self.file.write_all(svg.as_bytes())
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        if self.is_left_over {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A line: its name, its colour, and for each size in bytes a second.
struct Line {
    name: String,
    color: RGBColor,
    points: Vec<(SegmentValue<usize>, f64)>,
}

fn draw(results: &Results) -> Result<String, Failure> {
    let mut svg = String::new();
    draw_to(&mut svg, results).map_err(|error| Failure::Draw(error.to_string()))?;
    Ok(svg)
}

fn draw_to(svg: &mut String, results: &Results) -> Result<(), Box<dyn Error>> {
    let sizes = distinct(results.rows.iter().map(|row| row.case.size));
    let lines = lines(results, &sizes);
    let values = || {
        lines
            .iter()
            .flat_map(|line| &line.points)
            .map(|(_, bytes)| *bytes)
            .filter(|bytes| *bytes > 0.0)
    };
    // Whole powers of ten, so that there is always a label at both ends.
    let lowest = 10f64.powf(values().fold(f64::MAX, f64::min).log10().floor());
    let highest = 10f64
        .powf(values().fold(1.0, f64::max).log10().ceil())
        .max(lowest * 10.0);

    let root = SVGBackend::with_string(svg, EXTENT).into_drawing_area();
    root.fill(&WHITE)?;
    let title_area = root.titled("Throughput by size of message", ("sans-serif", 30))?;
    let area = title_area.titled(&title(&results.machine), ("sans-serif", 17))?;
    let mut chart = ChartBuilder::on(&area)
        .margin(15)
        .x_label_area_size(55)
        .y_label_area_size(95)
        .build_cartesian_2d(
            (0..sizes.len() - 1).into_segmented(),
            (lowest..highest).log_scale(),
        )?;
    let label = |value: &SegmentValue<usize>| match value {
        SegmentValue::CenterOf(index) => sizes
            .get(*index)
            .map(|bytes| size(*bytes))
            .unwrap_or_default(),
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(sizes.len())
        .x_label_formatter(&label)
        .x_desc("size of a message")
        .y_label_formatter(&|bytes| format!("{}B/s", short(*bytes)))
        .y_desc("bytes of messages a second (logarithmic)")
        .label_style(("sans-serif", 17))
        .axis_desc_style(("sans-serif", 19))
        .draw()?;
    for Line {
        name,
        color,
        points,
    } in &lines
    {
        let color = *color;
        let line = LineSeries::new(points.iter().cloned(), color.stroke_width(2)).point_size(4);
        chart
            .draw_series(line)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK)
        .label_font(("sans-serif", 17))
        .draw()?;
    root.present()?;
    Ok(())
}

/// Raw, which is the same for all numbers of producers, once for each stream. Of several streams
/// what is written by hand is over the first only: there are many lines.
fn lines(results: &Results, sizes: &[usize]) -> Vec<Line> {
    let rows = &results.rows;
    let line = |name: String, color, (stream, producers), figure: fn(&Row) -> Spread| {
        let place = |row: &Row| {
            sizes
                .iter()
                .position(|size| *size == row.case.size)
                .unwrap_or(0)
        };
        let point = |row: &Row| {
            (
                SegmentValue::CenterOf(place(row)),
                row.bytes(figure(row)).median,
            )
        };
        let is_of = |row: &&Row| (row.case.stream, row.case.producers) == (stream, producers);
        Line {
            name,
            color,
            points: rows.iter().filter(is_of).map(point).collect(),
        }
    };
    let streams = distinct(rows.iter().map(|row| row.case.stream));
    let producers = distinct(rows.iter().map(|row| row.case.producers));
    let over = |name: &str, stream: Stream| {
        if results.plan.names_streams() {
            format!("{name} over {}", stream.name())
        } else {
            name.to_owned()
        }
    };
    let named = |name, stream, count| match count {
        1 => format!("{}, 1 producer", over(name, stream)),
        _ => format!("{}, {count} producers", over(name, stream)),
    };
    let raw_name = if results.plan.names_streams() {
        "raw, no frames,"
    } else {
        "raw socket, no frames"
    };
    let raw = streams.iter().zip(producers.first().into_iter().cycle());
    let raw = raw.map(|(&stream, &count)| {
        let name = over(raw_name, stream);
        line(name, raw_of(stream), (stream, count), |row| row.raw)
    });
    let of = |name, stream, colors: [RGBColor; 4], figure: fn(&Row) -> Spread| {
        let colors = colors.into_iter().cycle();
        let lines = producers.iter().zip(colors).map(|(&count, color)| {
            line(named(name, stream, count), color, (stream, count), figure)
        });
        lines.collect::<Vec<_>>()
    };
    let ours = streams
        .iter()
        .flat_map(|&stream| of("uds-ipc", stream, ours_of(stream), |row| row.ours));
    let first = streams.first().into_iter();
    let handwritten = first.flat_map(|&stream| {
        of("written by hand", stream, HANDWRITTEN, |row| {
            row.handwritten
        })
    });
    raw.chain(ours).chain(handwritten).collect()
}

/// Each once, in the order in which they come.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut kept, value| {
        if !kept.contains(&value) {
            kept.push(value);
        }
        kept
    })
}
