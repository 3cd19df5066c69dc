"""The bundled voice, the tools for sound that its demo uses, and the demo on recordings of one's own."""

import math
import struct
import wave
from importlib import resources

import numpy as np
import pytest
from test_demos import FOLDER, load

import npae

sound = load(FOLDER / "sound.py")


# --- the recording --------------------------------------------------------------------------------------------


def test_the_bundled_voice():
    sentences = npae.datasets.speech()
    assert [len(x) for x in sentences] == [56_800, 23_920, 42_400, 48_400, 26_320]
    for x in sentences:
        assert x.dtype == np.float32
        assert 0.2 < np.abs(x).max() < 0.6
        assert 0.04 < x.std() < 0.08
        assert abs(x.mean()) < 2e-4
        assert np.median(np.abs(x)) < 0.5 * x.std()  # a voice has pauses, noise has none
    sentences[0][...] = 0  # the caller's own: the next call is not affected
    assert npae.datasets.speech()[0].any()


def test_its_bytes_stand_for_the_levels_of_the_telephone():
    with np.load(str(resources.files("npae.datasets").joinpath("speech.npz"))) as data:
        codes = [data[f"sentence_{i}"].astype(float) for i in range(1, 6)]
    for code, x in zip(codes, npae.datasets.speech(), strict=True):
        y = np.sign(x) * np.log(1 + 255 * np.abs(x.astype(float))) / math.log(256)  # Smith's compressor
        np.testing.assert_allclose(127 * y, code - 128, atol=1e-4)
        assert np.abs(code - 128).max() <= 127


def test_it_is_small_and_states_its_source():
    folder = resources.files("npae.datasets")
    assert len(folder.joinpath("speech.npz").read_bytes()) < 230_000
    text = folder.joinpath("SPEECH.md").read_text(encoding="utf-8")
    for word in ("Jane Austen", "LibriVox", "public domain", "What was changed"):
        assert word in text


# --- WAV files ------------------------------------------------------------------------------------------------


def store(path, samples, rate=8000, width=2):
    """samples (n, channels) in [-1, 1] as PCM of `width` bytes, written independently of `sound.write_wav`."""
    x = np.asarray(samples)
    numbers = np.rint(x * 128 + 128).astype("u1") if width == 1 else np.rint(x * 32768).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(x.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(numbers.tobytes())


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2])
def test_wav_files_are_read(tmp_path, width, channels, rate):
    levels = 2.0 ** (8 * width - 1)
    samples = np.random.default_rng(0).integers(-levels, levels, (37, channels)) / levels
    store(tmp_path / "a.wav", samples, rate, width)
    x, read_rate = sound.read_wav(tmp_path / "a.wav")
    assert (x.dtype, read_rate) == (np.float32, rate)
    np.testing.assert_allclose(x, samples.mean(axis=1), atol=1e-7)


def test_what_is_written_is_read_back_and_what_is_too_loud_is_clipped(tmp_path):
    x = np.array([0, 0.5, -0.25, 1 / 32768, 2, -2], np.float32)
    sound.write_wav(tmp_path / "a.wav", x, 11025)
    back, rate = sound.read_wav(tmp_path / "a.wav")
    assert rate == 11025
    np.testing.assert_array_equal(back, np.float32([0, 0.5, -0.25, 1 / 32768, 32767 / 32768, -1]))


def riff(form=1, channels=1, rate=8000, bits=16, data=bytes(8), told=None):
    """The bytes of a WAV file, right or wrong."""
    step = channels * bits // 8
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, form, channels, rate, rate * step, step, bits)
    body = b"WAVE" + fmt + struct.pack("<4sI", b"data", len(data) if told is None else told) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


WRONG_FILES = {
    "not a WAV file": (b"ID3\x03 this is an MP3 file, whatever its name is", "RIFF"),
    "no bytes": (b"", "half a header"),
    "half a header": (riff()[:30], "got"),
    "another RIFF": (riff().replace(b"WAVE", b"AVI "), "not a WAVE file"),
    "24 bit": (riff(bits=24, data=bytes(12)), "24 bit"),
    "32 bit": (riff(bits=32), "32 bit"),
    "floating point": (riff(form=3, bits=32), "3"),
    "no sound": (riff(data=b""), "0 of 0 bytes"),
    "cut off": (riff(told=1000), "8 of 1000 bytes"),
    "no rate": (riff(rate=0), "0 Hz"),
}


def test_the_right_file_of_which_the_wrong_ones_are_made(tmp_path):
    (tmp_path / "a.wav").write_bytes(riff(data=struct.pack("<4h", 1, 2, 3, -4)))
    x, rate = sound.read_wav(tmp_path / "a.wav")
    assert (rate, (x * 32768).tolist()) == (8000, [1, 2, 3, -4])


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_refused(tmp_path, case):
    data, came = WRONG_FILES[case]
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="expected") as caught:
        sound.read_wav(path)
    message = str(caught.value)
    for part in (str(path), "8 or 16 bit PCM", "got", came, "convert it"):
        assert part in message


def test_any_nonsense_in_a_header_is_refused_or_read(tmp_path):
    rng, path, refused = np.random.default_rng(0), tmp_path / "a.wav", 0
    for _ in range(300):
        data = np.frombuffer(riff(), np.uint8).copy()
        data[rng.integers(0, 44, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(data.tobytes())
        try:
            sound.read_wav(path)
        except ValueError:
            refused += 1
    assert 100 < refused < 300


# --- another rate ---------------------------------------------------------------------------------------------


def sine(frequency, rate, seconds=0.5):
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(("old", "new"), [(44100, 8000), (16000, 8000), (8000, 7000), (8000, 11025), (7919, 8000)])
def test_a_tone_keeps_its_pitch_and_place_at_another_rate(old, new):
    for frequency in (100.0, 0.4 * min(old, new)):
        y = sound.resample(sine(frequency, old), old, new)
        assert y.dtype == np.float32
        assert len(y) == math.ceil(round(0.5 * old) * new / old)
        middle = slice(len(y) // 4, -len(y) // 4)  # the ends are cut off from what would be beyond them
        np.testing.assert_allclose(y[middle], sine(frequency, new, 1)[: len(y)][middle], atol=2e-3)


@pytest.mark.parametrize(("old", "new"), [(44100, 8000), (16000, 8000), (8000, 7000)])
def test_a_tone_that_the_new_rate_cannot_hold_vanishes(old, new):
    for frequency in (0.51 * new, 0.49 * old):
        y = sound.resample(sine(frequency, old), old, new)
        assert np.abs(y[len(y) // 4 : -len(y) // 4]).max() < 5e-3


def test_resampling_in_blocks_leaves_no_seams_and_short_sounds_are_fine():
    long = np.random.default_rng(0).standard_normal(60_000)  # several blocks
    whole = sound.resample(long, 8000, 9000)
    np.testing.assert_allclose(sound.resample(long[32_000:], 8000, 9000)[2000:], whole[38_000:], atol=1e-5)
    x = np.array([0.5, -1])
    same = sound.resample(x, 8000, 8000)
    assert same.tolist() == x.tolist()
    assert not np.shares_memory(same, x)
    assert [len(sound.resample(x[:n], 8000, 44100)) for n in range(3)] == [0, 6, 12]


# --- the short-time Fourier transform, and filters ------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 63, 64, 65, 256, 1000, 8001])
def test_the_stft_and_back_is_the_same_sound_to_its_very_ends(n):
    x = np.random.default_rng(n).uniform(-1, 1, n).astype(np.float32)
    np.testing.assert_allclose(sound.istft(sound.stft(x), n), x, atol=1e-6)


def test_the_stft_is_the_fourier_sum_of_windowed_pieces():
    x = np.random.default_rng(0).standard_normal(700)
    Y = sound.stft(x)
    m, f = np.arange(256), np.arange(129)
    window = np.sin(np.pi * m / 256) ** 2
    for frame in (3, 5, 10):  # frame 3 is the first that begins at x[0], each later one 64 samples on
        piece = np.zeros(256)
        part = x[(frame - 3) * 64 :][:256]
        piece[: len(part)] = part
        direct = np.exp(-2j * np.pi * f[:, None] * m / 256) @ (window * piece) / np.sqrt(np.square(window).sum())
        np.testing.assert_allclose(Y[frame], direct, atol=1e-5)
    assert Y.shape == (math.ceil(700 / 64) + 3, 129)


def test_white_noise_is_as_strong_in_every_frequency_as_in_time():
    Y = sound.stft(3 * np.random.default_rng(0).standard_normal(80_000))
    power = np.square(np.abs(Y[3:-3])).mean(axis=0)
    np.testing.assert_allclose(power.mean(), 9, rtol=0.03)
    np.testing.assert_allclose(power, 9, rtol=0.3)


def test_snr():
    x = np.array([3.0, -4.0])
    assert sound.snr(x, 0.9 * x) == 20
    assert sound.snr(x, 2 * x) == 0
    assert str(sound.snr(x, np.array([-2e-9, -4.0 + 4]))) == "0.0"  # and not -0.0


def test_wieners_filter_told_the_noise_makes_a_voice_clearer_and_memory_helps():
    clean = npae.datasets.speech()[4]
    deviation = clean.std()
    noisy = clean + deviation * np.random.default_rng(0).standard_normal(len(clean), np.float32)
    before, plain, memory = (
        sound.snr(clean, x) for x in (noisy, sound.wiener(noisy, deviation), sound.wiener(noisy, deviation, memory=0.9))
    )
    assert abs(before) < 0.2
    assert plain > before + 5
    assert memory > plain + 2
    np.testing.assert_allclose(sound.wiener(clean, 1e-6), clean, atol=1e-3)  # no noise, no change


def test_neighbours_stand_around_each_frame():
    A = np.arange(6.0).reshape(3, 2)
    rows = sound.neighbours(A, 3).reshape(3, 2, 3)
    np.testing.assert_array_equal(rows[:, :, 1], A)
    np.testing.assert_array_equal(rows[1], A.T)
    np.testing.assert_array_equal(rows[0, :, 0], 0)
    np.testing.assert_array_equal(rows[2, :, 2], 0)


def test_the_noise_adds_its_power_whatever_the_voice():
    demo = load(FOLDER / "09_speech.py")
    rng = np.random.default_rng(0)
    s = 10 ** np.linspace(-0.5, 0.3, 1001)
    for strength in (0.0, 0.1, 3.0):
        x = np.full((2000, 100), strength, np.float32)
        noisy = demo.noise(x, rng)
        assert noisy.shape == x.shape
        assert (x == np.float32(strength)).all()
        np.testing.assert_allclose(np.square(noisy).mean() - strength**2, np.square(s).mean(), rtol=0.06)
        rows = np.sqrt(np.abs(np.square(noisy).mean(axis=1) - strength**2))
        assert np.quantile(rows, 0.9) > 2 * np.quantile(rows, 0.1)  # softer in one row, louder in another


# --- one's own recordings -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Three short recordings as they come from elsewhere: 44.1 kHz, stereo, 8 bit."""
    rng = np.random.default_rng(0)
    for name, start in (("b.wav", 8000), ("c.WAV", 16_000), ("a.wav", 0)):
        x = sound.resample(npae.datasets.speech()[0][start : start + 8000], 8000, 44_100)
        samples = np.clip(x[:, None] + rng.normal(0, 0.002, (len(x), 2)), -1, 127 / 128)
        store(tmp_path / name, samples, 44_100, width=1)
    (tmp_path / "notes.txt").write_text("not a sound")
    return tmp_path


def test_a_folder_is_read_by_name_and_brought_to_one_level(folder):
    recordings = sound.read_folder(folder)
    for x, start in zip(recordings, (0, 8000, 16_000), strict=True):
        assert len(x) == 8000
        assert abs(x.mean()) < 1e-4
        assert abs(x.std() - 0.05) < 1e-4
        assert np.corrcoef(x, npae.datasets.speech()[0][start : start + 8000])[0, 1] > 0.9


def test_a_file_that_is_alone_is_cut_into_four_fifths_and_one(folder):
    (folder / "a.wav").unlink()
    (folder / "b.wav").unlink()
    store(folder / "c.WAV", sine(200, 8000, 5)[:, None] / 2)
    assert [len(x) for x in sound.read_folder(folder)] == [32_000, 8000]


def spoil(folder, case):
    if case == "no files":
        for path in folder.glob("*.[wW]*"):
            path.unlink()
    elif case == "no folder":
        return folder / "elsewhere"
    elif case == "not a sound":
        (folder / "b.wav").write_text("hello, this is no sound")
    elif case == "a folder of that name":
        (folder / "d.wav").mkdir()
    elif case == "alone and short":
        spoil(folder, "no files")
        store(folder / "a.wav", sine(200, 8000, 2)[:, None] / 2)
    else:
        x = {"short": sine(200, 8000, 0.4), "silence": np.full(8000, 0.25), "one sample": np.ones(1) / 2}[case]
        store(folder / "b.wav", x[:, None])
    return folder


WRONG_FOLDERS = {
    "no files": ("*.wav", "got none"),
    "no folder": ("*.wav", "got none"),
    "short": ("half a second", "0.40 s in b.wav"),
    "one sample": ("half a second", "0.00 s in b.wav"),
    "silence": ("half a second of sound", "silence in b.wav"),
    "alone and short": ("half a second", "0.40 s in the last fifth of a.wav"),
    "not a sound": ("WAV file of 8 or 16 bit PCM", "b.wav"),
    "a folder of that name": ("d.wav",),
}


@pytest.mark.parametrize("case", WRONG_FOLDERS)
def test_a_wrong_folder_ends_the_demo_before_it_trains(folder, case, capsys):
    wrong = spoil(folder, case)
    with pytest.raises(SystemExit) as caught:
        load(FOLDER / "09_speech.py").main(epochs=1, argv=["--wav", str(wrong)])
    for part in WRONG_FOLDERS[case]:
        assert part in caught.value.code
    assert "epoch" not in capsys.readouterr().err
    assert not (folder / "denoised").exists()


def test_the_demo_takes_recordings_of_ones_own(folder, capsys):
    pytest.importorskip("matplotlib")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert load(FOLDER / "09_speech.py").main(epochs=1, argv=["--wav", str(folder)]) == 0
    out, _ = capsys.readouterr()
    assert "denoising autoencoder" in out
    assert "must be" not in out
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    results = {path.name for path in (folder / "denoised").iterdir()}
    assert results == {"09_speech.png", *(f"09_speech_{name}.wav" for name in ("clean", "noisy", "denoised"))}
    clean, noisy, denoised = (
        sound.read_wav(folder / "denoised" / f"09_speech_{name}.wav") for name in ("clean", "noisy", "denoised")
    )
    np.testing.assert_allclose(clean[0], sound.read_folder(folder)[-1], atol=1e-4)  # the last by name is held out
    assert clean[1] == denoised[1] == 8000
    assert abs(sound.snr(clean[0], noisy[0])) < 0.1
    assert sound.snr(clean[0], denoised[0]) > 2
