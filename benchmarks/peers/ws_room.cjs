// ws: "server broadcast", as its README has it. node ws_room.cjs PORT
const { WebSocket, WebSocketServer } = require("ws");

const server = new WebSocketServer({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
server.on("connection", (socket) => {
    socket.on("error", console.error);
    socket.on("message", (data, isBinary) => {
        for (const client of server.clients) {
            if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
        }
    });
});
