/** A proxy as people put one in front: it serves under a path prefix, buffers nothing, and can be away for a while. */

import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export class Proxy {
  private readonly server: Server;
  private isAway = false;

  private constructor(target: string, prefix: string) {
    const { hostname, port } = new URL(target);
    this.server = createServer((asked, answer) => {
      const path = asked.url ?? "/";
      if (this.isAway || !path.startsWith(prefix)) {
        asked.socket.destroy();
        return;
      }
      const headers = { ...asked.headers, host: `${hostname}:${port}` };
      const passed = request({ hostname, port, path: path.slice(prefix.length - 1), method: asked.method, headers }, (told) => {
        answer.writeHead(told.statusCode ?? 502, told.headers);
        told.pipe(answer);
      });
      passed.on("error", () => answer.destroy());
      answer.on("close", () => passed.destroy());
      asked.pipe(passed);
    });
  }

  /** `prefix` begins and ends with a slash. */
  static async before(target: string, prefix: string): Promise<Proxy> {
    const proxy = new Proxy(target, prefix);
    await new Promise<void>((done) => proxy.server.listen(0, "127.0.0.1", done));
    proxy.url = `http://127.0.0.1:${(proxy.server.address() as AddressInfo).port}${prefix}`;
    return proxy;
  }

  url = "";

  leave(): void {
    this.isAway = true;
    this.server.closeAllConnections();
  }

  comeBack(): void {
    this.isAway = false;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
