"""The gateway's page under load: numbers move, a provider that goes down shows within 2 s, keys work, a phone is wide
enough, and no error is logged. Speaks the DevTools protocol over Chromium's pipe, so it needs no package."""
import base64, json, os, random, select, subprocess, sys, tempfile, threading, time, urllib.request

EXAMPLES, SCREENSHOTS = sys.argv[1], sys.argv[2]
CONFIG = """
cache = 60

[[provider]]
name = "first"
base_url = "{}"
model = "large"
rpm = 100
window = 3

[[provider]]
name = "second"
base_url = "{}"
model = "small"
limits = "anthropic-build"
kind = "window"
rpm = 40
tpm = 20_000
concurrent = 10
window = 3

[[caller]]
name = "web"
key = "web"
rpm = 2_000
tpm = 200_000
concurrent = 100

[[caller]]
name = "nightly"
key = "nightly"
rpm = 300
"""


def start(program, *args):
    """Starts an example, and returns it and the URL that its first line ends with."""
    process = subprocess.Popen([os.path.join(EXAMPLES, program), *args], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


class Chromium:
    def __init__(self, folder):
        commands, replies = os.pipe(), os.pipe()
        flags = f"--headless --no-sandbox --disable-gpu --no-proxy-server --remote-debugging-pipe --user-data-dir={folder}"
        shell = f"exec chromium {flags} about:blank 3<&{commands[0]} 4>&{replies[1]}"
        fds = (commands[0], replies[1])
        self.process = subprocess.Popen(["bash", "-c", shell], pass_fds=fds, stderr=subprocess.DEVNULL)
        self.write, self.read, self.rest, self.last = commands[1], replies[0], b"", 0
        self.errors, self.session = [], None
        [page] = [it for it in self("Target.getTargets")["targetInfos"] if it["type"] == "page"]
        self.session = self("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(domain + ".enable")

    def __call__(self, method, **params):
        """Sends a command, and waits for its result. Errors that the page logs are kept."""
        self.last += 1
        command = {"id": self.last, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.write, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            while b"\0" not in self.rest:
                ready, _, _ = select.select([self.read], [], [], deadline - time.monotonic())
                assert ready, f"no reply to {method}"
                self.rest += os.read(self.read, 1 << 20)
            text, _, self.rest = self.rest.partition(b"\0")
            message = json.loads(text)
            if message.get("id") == self.last:
                assert "error" not in message, message
                return message["result"]
            what, details = message.get("method"), message.get("params", {})
            if (what == "Runtime.exceptionThrown" or details.get("type") in ("error", "assert")
                    or details.get("entry", {}).get("level") == "error"):
                self.errors.append(details)

    def run(self, script):
        result = self("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.textContent") or ""

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" and len(key) == 1 else {}
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, **text)

    def show(self, width, height, scheme):
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, name):
        image = self("Page.captureScreenshot", format="png")["data"]
        with open(os.path.join(SCREENSHOTS, name), "wb") as file:
            file.write(base64.b64decode(image))


def until(seconds, check):
    """Waits for a result that is true, and returns how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if check():
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {page.text('main')}")


def load(url, stop):
    """Sends requests one after the other, some of which are equal."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while not stop.is_set():
        content = f"prompt {random.randrange(40) if random.random() < 0.2 else random.random()}"
        body = {"model": "auto", "messages": [{"role": "user", "content": content}], "max_tokens": 12}
        key = "web" if random.random() < 0.8 else "nightly"
        headers = {"authorization": "Bearer " + key, "content-type": "application/json"}
        request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), headers)
        try:
            opener.open(request, timeout=60).read()
        except urllib.error.HTTPError as error:
            error.read()
            time.sleep(0.2)
        except OSError:
            time.sleep(0.2)


processes, stop = [], threading.Event()
with tempfile.TemporaryDirectory() as folder:
    try:
        providers = [start("batch", "--serve", "--rpm", rpm, "--window", "3", "--latency-ms", "700") for rpm in ("100", "40")]
        processes += [process for process, _ in providers]
        path = os.path.join(folder, "config.toml")
        with open(path, "w") as file:
            file.write(CONFIG.format(*(url for _, url in providers)))
        gateway, url = start("gateway", "--port", "0", "--config", path)
        processes.append(gateway)
        threads = [threading.Thread(target=load, args=(url, stop), daemon=True) for _ in range(40)]
        [thread.start() for thread in threads]

        page = Chromium(os.path.join(folder, "chromium"))
        processes.append(page.process)
        page.show(1200, 900, "light")
        page("Page.navigate", url=url + "/")
        print(f"live after {until(20, lambda: page.text('#state') == 'live'):.1f} s")
        until(20, lambda: page.text('[data-provider=first] .health').endswith("up"))
        seen = set()
        until(20, lambda: seen.add(page.text("#requests")) or len(seen) >= 5)
        until(20, lambda: page.text("#hits") not in ("", "0"))
        until(20, lambda: "of 2,000" in page.text("[data-key=web]") and "reserved of 20,000" in page.text("[data-provider=second]"))
        print("numbers move:", ", ".join(sorted(seen)))

        page.press("p")
        assert page.text("#state") == "paused" and page.run("document.querySelector('#pause').ariaPressed") == "true"
        paused = page.text("#requests"), page.text("#tokens")
        time.sleep(1.5)
        assert paused == (page.text("#requests"), page.text("#tokens"))
        page.press("p")
        page.press("Tab")
        assert page.run("document.activeElement.id") == "pause", page.run("document.activeElement.outerHTML")
        print("keys work")

        page.screenshot("light.png")
        page.show(390, 844, "dark")
        time.sleep(0.5)
        assert page.run("document.documentElement.scrollWidth") <= 390, page.run("document.documentElement.scrollWidth")

        providers[0][0].kill()
        shown = until(2, lambda: page.text("[data-provider=first] .health").split()[-1] in ("failing", "down"))
        page.show(1200, 900, "dark")
        down = shown + until(5, lambda: page.text("[data-provider=first] .health").endswith("down"))
        until(2, lambda: page.text("#state") == "down: first")
        print(f"failing after {shown:.1f} s, down after {down:.1f} s")
        page.screenshot("dark.png")
        assert not page.errors, page.errors
        print("no error in the console")
    finally:
        stop.set()
        for process in reversed(processes):
            process.kill()
            process.wait()
