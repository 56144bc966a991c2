// vscode.cjs CHROMIUM URL: a person at VS Code in a browser. Each line of standard input is a
// command in JSON, ["open", file, shown] and so on; each is answered by a line.
const { chromium } = require("playwright-core")
const [browser, url] = process.argv.slice(2)
const timeout = 60000

async function main() {
  const b = await chromium.launch({ executablePath: browser, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] })
  const page = await b.newPage({ viewport: { width: 1400, height: 1400 } })
  const tab = (file) => page.locator(`.tab[data-resource-name="${file}"]`)
  const toasts = page.locator(".notification-toast")
  const doc = () => page.evaluate(() =>
    [...document.querySelectorAll(".editor-instance .view-line")].map((l) => [l.offsetTop, l.textContent.replace(/\u00a0/g, " ")])
      .sort((a, b) => a[0] - b[0]).map((l) => l[1]).join("\n"))
  const until = async (what, ok) => {
    for (const end = Date.now() + timeout; ; await page.waitForTimeout(50)) {
      if (await ok()) return
      if (Date.now() > end) throw new Error(`${what}: not within ${timeout} ms; it shows:\n${await doc()}`)
    }
  }
  const to = async (file) => {
    await tab(file).click()
    await page.locator(".editor-instance .view-lines").click()
  }
  const does = {
    async begin() {
      await page.goto(url)
      await page.waitForSelector(".explorer-folders-view .monaco-list-row", { timeout })
      return ""
    },
    async open(file, shown) {
      await page.locator(`.explorer-folders-view .monaco-list-row[aria-label^="${file}"]`).dblclick({ timeout })
      await does.shows(file, shown)
      return ""
    },
    async shows(file, text) {
      await tab(file).click({ timeout })
      await until(`${file} shows ${text}`, async () => (await doc()).includes(text))
      return ""
    },
    // types a line under the first one
    async type(file, line) {
      await to(file)
      await page.keyboard.press("Control+Home")
      await page.keyboard.press("End")
      await page.keyboard.type("\n" + line)
      await until(`${file} is typed into`, async () => (await doc()).includes(line))
      return ""
    },
    // saves, and answers what it asks and with which answers
    async save(file) {
      await to(file)
      await page.keyboard.press("Control+S")
      let asked = ""
      await until(`${file} is saved`, async () => {
        if (await toasts.count()) {
          asked = (await toasts.first().innerText()).replace(/\s+/g, " ").trim()
          return asked !== ""
        }
        return !(await tab(file).getAttribute("class")).includes("dirty")
      })
      return asked
    },
    async answer(file, button) {
      await toasts.getByRole("button", { name: button }).click({ timeout })
      await until(`${file} is saved`, async () => !(await tab(file).getAttribute("class")).includes("dirty"))
      await page.keyboard.press("Escape")
      return ""
    },
    async picture(path) {
      await page.screenshot({ path })
      return ""
    },
  }
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [what, ...args] = JSON.parse(line)
    let answer
    try {
      answer = ["ok", await does[what](...args)]
    } catch (e) {
      answer = ["failed", String(e)]
    }
    console.log(JSON.stringify(answer))
  }
  await b.close()
}
main().catch((e) => { console.error(e); process.exit(1) })
