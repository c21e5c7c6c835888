"""Downloads a list with video2dataset in its default configuration. Run by video2dataset's own Python.

PYTHON video2dataset_peer.py LIST.csv OUT PROCESSES
"""

from __future__ import annotations

import sys

THREADS = 32  # its default

if __name__ == "__main__":
    from video2dataset import video2dataset

    video2dataset(
        url_list=sys.argv[1],
        input_format="csv",
        url_col="url",
        output_folder=sys.argv[2],
        output_format="files",
        encode_formats={"video": "mp4"},
        config={
            "subsampling": {},
            "reading": {
                "yt_args": {"download_size": 360, "yt_metadata_args": None},
                "timeout": 60,
                "sampler": None,
            },
            "storage": {
                "number_sample_per_shard": 100,
                "oom_shard_count": 5,
                "captions_are_subtitles": False,
            },
            "distribution": {
                "processes_count": int(sys.argv[3]),
                "thread_count": THREADS,
                "subjob_size": 1000,
                "distributor": "multiprocessing",
            },
        },
    )
