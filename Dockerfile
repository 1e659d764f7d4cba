# PPO learns CatchBall in a container, on the CPU:
#
#     docker build --tag rlgames .
#     docker run --rm --interactive --tty --volume "$PWD/runs:/home/player/runs" rlgames
#
# Any other command follows the name of the image: docker run ... rlgames rlgames train ppo Cave

FROM python:3.11-slim

WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY rlgames rlgames
RUN pip install --no-cache-dir --constraint constraints.txt . && rm -r /build

RUN useradd --create-home player
USER player
WORKDIR /home/player
CMD ["rlgames", "demo"]
