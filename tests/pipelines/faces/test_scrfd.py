"""SparseScrfd is bit-identical to insightface's SCRFD."""

import av
import numpy as np

from mien.pipelines.data import UInt8
from mien.pipelines.faces.onnx_session import open_session
from mien.pipelines.weights import locate
from tests.demo_media import demo_clip, needs_weights


def test_finds_the_same_faces_as_insightface() -> None:
    needs_weights()
    from insightface.model_zoo.scrfd import SCRFD

    from mien.pipelines.faces.scrfd import SparseScrfd

    path = locate("scrfd_500m")
    session = open_session(path, "cpu", 1)
    ours, theirs = (
        kind(str(path), session=session, static_shape_sessions=False) for kind in (SparseScrfd, SCRFD)
    )
    pictures: list[UInt8] = [np.zeros((180, 320, 3), np.uint8)]
    for name in ("talks.mp4", "no_face.mp4"):
        with av.open(str(demo_clip(name))) as container:
            frames = list(container.decode(video=0))[::40]
        small = (frame.reformat(320, 180, format="bgr24").to_ndarray() for frame in frames)
        pictures += [np.asarray(picture, np.uint8) for picture in small]
    found = 0
    for picture in pictures:
        for threshold in (0.02, 0.3):
            a, b = (
                model.detect(picture, input_size=(320, 192), det_thresh=threshold) for model in (ours, theirs)
            )
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])
            found += len(a[0])
    assert found
