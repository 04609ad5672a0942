// A page that was opened from a folder may start no worker: a hidden frame takes its place, so that
// the search works without a server.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      this.start(url)
    }

    start(url) {
      const inside = this.frame.contentWindow
      inside.document.write("<!doctype html><body></body>")
      inside.document.close()
      const load = address =>
        new Promise((resolve, reject) => {
          const script = inside.document.createElement("script")
          Object.assign(script, { src: address, onload: resolve, onerror: reject })
          inside.document.body.append(script)
        })
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      inside.importScripts = (...addresses) =>
        addresses.reduce((before, address) => before.then(() => load(address)), Promise.resolve())
      load(url).then(() => {
        this.started = true
        this.waiting.forEach(data => this.postMessage(data))
      })
    }

    postMessage(data) {
      const inside = this.frame.contentWindow
      if (this.started) inside.dispatchEvent(new inside.MessageEvent("message", { data }))
      else this.waiting.push(data)
    }

    terminate() {
      this.frame.remove()
    }
  }
}
