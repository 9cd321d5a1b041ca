use super::*;
use proptest::prelude::*;

/// H.264 units behind lengths of four bytes.
fn avc(units: &[&[u8]]) -> Vec<u8> {
    units
        .iter()
        .flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat())
        .collect()
}

fn avc_inspector() -> Inspector {
    Inspector::new(Id::H264, &[1, 100, 0, 31, 0xff, 0xe1, 0, 2, 0x67, 100]).unwrap()
}

const KEY: Option<Picture> = Some(Picture {
    entry: true,
    reference: true,
});
const OTHER: Option<Picture> = Some(Picture {
    entry: false,
    reference: true,
});
const LEAF: Option<Picture> = Some(Picture {
    entry: false,
    reference: false,
});

#[test]
fn h264_pictures_are_told_apart() {
    // first_mb 0 = "1", slice_type 7 (I) = "0001000", 5 (P) = "00110".
    let mut inspector = avc_inspector();
    let mut read = |units: &[&[u8]]| inspector.read(&avc(units));
    assert_eq!(read(&[&[6, 1], &[0x65, 0b1000_1000, 0x80]]), KEY);
    assert_eq!(read(&[&[0x41, 0b1001_1010, 0]]), OTHER);
    assert_eq!(read(&[&[0x01, 0b1001_1010, 0]]), LEAF);
    // The first slice is missing; two fields; a P slice in an IDR picture; no picture; another SPS; the known one.
    assert_eq!(read(&[&[0x41, 0b0100_1101, 0]]), None);
    assert_eq!(read(&[&[0x41, 0b1001_1010], &[0x41, 0b1001_1010]]), None);
    assert_eq!(read(&[&[0x65, 0b1001_1010]]), None);
    assert_eq!(read(&[&[6, 1]]), None);
    assert_eq!(read(&[&[0x67, 77], &[0x65, 0b1000_1000, 0x80]]), None);
    assert_eq!(read(&[&[0x67, 100], &[0x65, 0b1000_1000, 0x80]]), KEY);
    let mut cut = avc(&[&[0x41, 0b1001_1010, 0]]);
    cut.pop();
    assert_eq!(avc_inspector().read(&cut), None);
}

#[test]
fn start_codes_part_a_packet() {
    let packet = [0, 0, 0, 1, 0x41, 0x9a, 0, 0, 1, 6, 0, 0, 0, 1];
    let parts: Vec<_> = units(&packet, None).unwrap();
    assert_eq!(parts, [&[0x41, 0x9a][..], &[6], &[]]);
    assert_eq!(start_codes(&[0, 0]).count(), 0);
}

#[test]
fn other_codecs_say_where_decoding_can_begin() {
    let mut hevc = Inspector::new(Id::HEVC, &[]).unwrap();
    assert_eq!(hevc.read(&[0, 0, 1, 42, 1, 0x80]), KEY);
    assert_eq!(hevc.read(&[0, 0, 1, 2, 1, 0x80]), OTHER);
    // A leading picture is shown; a broken link drops it.
    assert_eq!(hevc.read(&[0, 0, 1, 18, 1, 0x80]), OTHER);
    assert_eq!(hevc.read(&[0, 0, 1, 32, 1, 0x80]), None);
    // One array of one sequence parameter set, which says that there is one sub-layer.
    let mut header = vec![1; 22];
    header.extend([1, 33, 0, 1, 0, 3, 66, 1, 1]);
    let mut layered = Inspector::new(Id::HEVC, &header).unwrap();
    let mut read = |head: [u8; 2]| layered.read(&[0, 3, head[0], head[1], 0x80]);
    assert_eq!(read([42, 1]), KEY);
    assert_eq!(read([0, 1]), LEAF);
    assert_eq!(read([2, 1]), OTHER);
    // Of a sub-layer below the highest, others may refer to any picture.
    header[30] = 3;
    let mut layered = Inspector::new(Id::HEVC, &header).unwrap();
    assert_eq!(layered.read(&[0, 3, 42, 1, 0x80]), KEY);
    assert_eq!(layered.read(&[0, 3, 0, 1, 0x80]), OTHER);
    assert_eq!(layered.read(&[0, 3, 0, 2, 0x80]), LEAF);
    let mut mpeg2 = Inspector::new(Id::MPEG2VIDEO, &[]).unwrap();
    assert_eq!(
        mpeg2.read(&[0, 0, 1, 0xb3, 9, 9, 0, 0, 1, 0, 0, 8, 0, 0, 1, 1, 5]),
        KEY
    );
    assert_eq!(mpeg2.read(&[0, 0, 1, 0, 0, 24, 0, 0, 1, 1, 5]), LEAF);
    assert_eq!(
        mpeg2.read(&[0, 0, 1, 0xb3, 9, 8, 0, 0, 1, 0, 0, 8, 0, 0, 1, 1, 5]),
        None
    );
    assert_eq!(vp8(&[0x10, 0, 0, 0x9d, 1, 0x2a]), KEY);
    assert_eq!(vp8(&[0x01, 0, 0]), None);
    assert_eq!(vp9(&[0x82, 0x49, 0x83, 0x42]), KEY);
    assert_eq!(vp9(&[0x86, 1, 2]), OTHER);
    // A hidden frame and a shown one share a packet.
    assert_eq!(vp9(&[0x84, 0x86, 0xc1, 1, 1, 0xc1]), OTHER);
    assert_eq!(vp9(&[0x84]), None);
    let mut av1 = Inspector::new(Id::AV1, &[]).unwrap();
    assert_eq!(av1.read(&[0x12, 0, 0x0a, 1, 7, 0x32, 1, 0x10]), KEY);
    assert_eq!(av1.read(&[0x12, 0, 0x32, 1, 0x30]), OTHER);
    assert_eq!(av1.read(&[0x12, 0, 0x32, 9, 0x30]), None);
}

proptest! {
    #[test]
    fn no_bytes_can_break_it(packets in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..60), 0..6)) {
        for codec in [Id::H264, Id::HEVC, Id::MPEG2VIDEO, Id::VP8, Id::VP9, Id::AV1] {
            for header in [&[][..], &[1; 30]] {
                let mut inspector = Inspector::new(codec, header).unwrap();
                for packet in &packets {
                    inspector.read(packet);
                }
            }
        }
    }
}
