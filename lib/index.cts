/** `require("torchclip")`: Node >= 20.19 loads ES modules from CommonJS. */
module.exports = require("./index.js");
